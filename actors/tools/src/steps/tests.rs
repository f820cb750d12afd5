//! Rows of calls, and after which of them a loop is seen.

use super::{LoopSettings, LoopWatch, Step, Verdict};

/// `letters`: one call each; a capital one is a polling tool. Expected: `.` fine, `w` warned, `s`
/// stopped.
fn check(letters: &str, expected: &str) {
    let settings = LoopSettings { polling_repeats: 8, ..LoopSettings::default() };
    let mut watch = LoopWatch::new(settings);
    let seen: String = letters
        .chars()
        .map(|letter| {
            let verdict = watch.see(Step {
                tool: format!("tool-{letter}"),
                arguments_sha256: "1".to_owned(),
                result_sha256: "2".to_owned(),
                is_polling: letter.is_uppercase(),
            });
            match verdict {
                Verdict::Fine => '.',
                Verdict::Warn(text) => {
                    assert!(text.contains("do something else"), "{text}");
                    'w'
                }
                Verdict::Stop(_) => 's',
            }
        })
        .collect();
    assert_eq!(seen, expected, "{letters}");
}

#[test]
fn repetitions_and_cycles() {
    for (letters, expected) in [
        ("abcdefgh", "........"),
        ("aabbaabc", "........"),
        ("aaaaa", "..wws"),
        ("aabaaba", "......."),
        ("aaabaaab", "..w...w."),
        ("abababababa", ".....wwwwss"),
        ("abcabcabcabcabc", "........wwwwwws"),
        ("xyabcabcabc", "..........w"),
        ("abcdabcdabcdabcdabcd", "...........wwwwwwwws"),
        // Longer cycles are not looked for.
        ("abcdeabcdeabcdeabcde", "...................."),
        ("AAAAAAAAAA", ".......wws"),
        ("ABABABABABABABABABAB", "...............wwwws"),
        // One that does not poll makes it an ordinary cycle.
        ("AbAbAbAbAb", ".....wwwws"),
    ] {
        check(letters, expected);
    }
}

#[test]
fn another_result_or_argument_is_no_repetition() {
    let mut watch = LoopWatch::new(LoopSettings::default());
    for number in 0..50 {
        for (arguments, result) in [(number, 0), (0, number)] {
            let verdict = watch.see(Step {
                tool: "read".to_owned(),
                arguments_sha256: arguments.to_string(),
                result_sha256: result.to_string(),
                is_polling: false,
            });
            assert_eq!(verdict, Verdict::Fine, "{number}");
        }
    }
}

#[test]
fn the_text_names_the_tools() {
    let mut watch = LoopWatch::new(LoopSettings { grace: 0, ..LoopSettings::default() });
    let step = |tool: &str| Step {
        tool: tool.to_owned(),
        arguments_sha256: String::new(),
        result_sha256: String::new(),
        is_polling: false,
    };
    let mut last = Verdict::Fine;
    for _ in 0..3 {
        watch.see(step("find"));
        last = watch.see(step("open"));
    }
    let text = "the calls find, open came 3 times with the same results";
    assert_eq!(last, Verdict::Stop(text.to_owned()));
}

#[test]
fn what_is_remembered_is_enough_and_bounded() {
    let settings = LoopSettings::default();
    let (mut whole, mut count) = (LoopWatch::new(settings), 0);
    for number in 0..400u32 {
        let step = Step {
            tool: (number % 7).to_string(),
            arguments_sha256: String::new(),
            result_sha256: String::new(),
            is_polling: true,
        };
        whole.see(step.clone());
        count = whole.steps().count();
        // One that takes over from the steps that are kept sees the same.
        let mut taken_over = LoopWatch::new(settings);
        for step in whole.steps() {
            taken_over.see(step.clone());
        }
        assert_eq!(taken_over.see(step.clone()), whole.clone().see(step));
    }
    assert_eq!(count, 248);
}
