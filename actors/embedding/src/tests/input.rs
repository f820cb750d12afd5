//! Input checks: every problem names what is wrong and what is allowed.

use headwater_models::ModelCard;
use headwater_models::double::DoubleModel;
use headwater_models::encoder::Model;

use crate::InputProblem::{NoTexts, NoTokens, TooLong, TooManyTexts, TooManyTokens};
use crate::{InputLimits, InputProblem, check_count, check_ids, check_length, check_text};

const LIMITS: InputLimits = InputLimits { texts: 3, tokens: 20 };

fn card() -> ModelCard {
    DoubleModel::new("m", 4, 8).card().clone()
}

#[test]
fn counts() {
    let table = [
        (0, Err(NoTexts)),
        (1, Ok(())),
        (3, Ok(())),
        (4, Err(TooManyTexts { given: 4, allowed: 3 })),
    ];
    for (texts, expected) in table {
        assert_eq!(check_count(texts, &LIMITS), expected, "{texts} texts");
    }
}

#[test]
fn ids() {
    assert_eq!(check_ids(3, &[]), Err(NoTokens { index: 3 }));
    assert_eq!(check_text(3, ""), Err(NoTokens { index: 3 }));
    assert_eq!(check_text(3, " "), Ok(()));
    assert_eq!(check_ids(3, &[7]), Ok(()));
}

#[test]
fn lengths() {
    let too_long = |index, given_tokens| TooLong { index, given_tokens, allowed_tokens: 8 };
    let table: [(&[usize], bool, Result<(), InputProblem>); 8] = [
        (&[8, 8], false, Ok(())),
        (&[2, 9], false, Err(too_long(1, 9))),
        (&[10, 9], false, Err(too_long(0, 10))),
        (&[2, 9], true, Ok(())),
        (&[usize::MAX, 8], true, Ok(())),
        (&[8, 8, 4], false, Ok(())),
        (&[8, 8, 5], false, Err(TooManyTokens { given: 21, allowed: 20 })),
        // A cut text counts with what is read of it.
        (&[100, 100, 100], true, Err(TooManyTokens { given: 24, allowed: 20 })),
    ];
    for (lengths, truncate, expected) in table {
        let found = check_length(lengths, truncate, &card(), &LIMITS);
        assert_eq!(found, expected, "{lengths:?} truncate {truncate}");
    }
}
