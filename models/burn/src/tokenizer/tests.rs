//! Ids, limits and byte offsets with the vocabulary of a tiny model.

use headwater_models::TokenizeError;

use super::ModelTokenizer;

const VOCABULARY: usize = 101;

fn tokenizer() -> ModelTokenizer {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests_data/tiny_bge/tokenizer.json");
    ModelTokenizer::parse(&std::fs::read(path).unwrap(), VOCABULARY).unwrap()
}

#[test]
fn neither_padding_nor_truncation_of_the_file_is_obeyed() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.tokenize("", None).unwrap().ids, [2, 3]);
    let long = tokenizer.tokenize(&"the ".repeat(20), None).unwrap();
    assert_eq!((long.ids.len(), long.whole_length), (22, 22));
}

#[test]
fn special_tokens_survive_every_limit_that_holds_them() {
    let tokenizer = tokenizer();
    let text = "the cat the cat";
    for (limit, length) in [(2, 2), (3, 3), (5, 5), (6, 6), (7, 6)] {
        let cut = tokenizer.tokenize(text, Some(limit)).unwrap();
        assert_eq!((cut.ids.len(), cut.whole_length), (length, 6), "limit {limit}");
        assert_eq!((cut.ids[0], cut.ids[length - 1]), (2, 3), "limit {limit}");
        assert_eq!(cut.truncated(), limit < 6);
    }
    let refused = tokenizer.tokenize(text, Some(1)).unwrap_err();
    assert!(refused.to_string().contains("limit of 1"), "{refused}");
}

#[test]
fn adopted_ids_are_framed_cut_and_checked() {
    let tokenizer = tokenizer();
    let whole = tokenizer.tokenize("the cat", None).unwrap();
    let words = &whole.ids[1..3];
    assert_eq!(tokenizer.adopt(words, None).unwrap(), whole);
    assert_eq!(tokenizer.adopt(words, Some(3)).unwrap().ids, [2, words[0], 3]);
    assert_eq!(
        tokenizer.adopt(&[5, 101], None),
        Err(TokenizeError::UnknownId { id: 101, vocabulary: VOCABULARY })
    );
    assert!(tokenizer.adopt(&[100], None).is_ok());
}

#[test]
fn pieces_hold_byte_offsets_into_the_text() {
    let text = "Café 你好 thecat";
    let tokenizer = tokenizer();
    let bare = tokenizer.pieces(text, false).unwrap();
    for piece in &bare {
        assert!(!piece.special);
        let part = &text[piece.start..piece.stop];
        match piece.text.as_str() {
            "[UNK]" => assert!("你好".contains(part), "{part:?}"),
            "##e" | "e" if part == "é" => {}
            letters => assert_eq!(part.to_lowercase(), letters.trim_start_matches("##")),
        }
    }
    assert!(bare.iter().any(|piece| (piece.start, piece.stop) == (3, 5)), "é takes two bytes");
    let framed = tokenizer.pieces(text, true).unwrap();
    assert_eq!(framed.len(), bare.len() + 2);
    assert_eq!(framed[1..framed.len() - 1], bare);
    let ids: Vec<u32> = framed.iter().map(|piece| piece.id).collect();
    assert_eq!(ids, tokenizer.tokenize(text, None).unwrap().ids);
    for (mark, name) in [(&framed[0], "[CLS]"), (&framed[framed.len() - 1], "[SEP]")] {
        assert!(mark.special && mark.text == name && (mark.start, mark.stop) == (0, 0));
    }
}
