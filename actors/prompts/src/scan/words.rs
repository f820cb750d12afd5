//! Tells words and names from chance, by how often one letter follows another in English.

/// For each letter, how much oftener than by chance each letter follows it in English prose and
/// documentation: `a` stands for five bits less, each letter after it for 0.4 bits more.
const PAIRS: [&[u8; 26]; 26] = [
    b"kprqcjqiqhmurudphusuomiinl",
    b"ofcbqccdohaoecnbalkgmaaaea",
    b"raldraasqanodeufaojrnabaia",
    b"qgekueicscdifepgallfmebbgc",
    b"rlstonnjphlsrwjolwvslplqli",
    b"oabcoldaqaalaapaalejlaaaha",
    b"mbecsekloadkdkliaokgnaaada",
    b"qbddrcaaoaaighpaalgnkcdafa",
    b"pmspropffjlrqwtnipsthoaiin",
    b"iaablcbaeafbadjeaagaibdaaa",
    b"lccepeccmaejbgjbagmkjacacb",
    b"shhmuhigtagsmfrhdcnoogeaoa",
    b"slgdtdfaqaakmeprackdlaaaea",
    b"reqssmtiqgllgmoiafsumlgcii",
    b"lmoqjjmglhlqrvnpdtqoqnohie",
    b"qdfgsfeioabqgeqnaslpnacaja",
    b"faacbaaacaagabaacaaapacaaa",
    b"timowjlgtamlomtjcmqqokheme",
    b"papethdnsakjiippfcrupejcka",
    b"tfjevhgrvaclifrlbsqopejcoh",
    b"nlnmphlbncfoorimarqrceeefh",
    b"pacasaccpaadaanaageafaaaaa",
    b"mccbodaknaafaimaahjdcaeaaa",
    b"kahajaaajaacccclaaamaaabfa",
    b"mbcejaeakaahhjkkafkidbcafe",
    b"laacmabbmaafdbgaaabbkacaag",
];

/// The bits per pair above which letters are a word. Of random runs of six letters one in twenty
/// is above, of English words nineteen in twenty.
const WORD: f64 = 0.4;

/// The bits per pair a run of only four or five letters needs, which chance reaches oftener.
const SHORT_WORD: f64 = 0.9;

/// How much of the letters and digits of `text` is in words, from 0 to 1.
pub(super) fn share(text: &str) -> f64 {
    let total = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let words: usize = runs(text).filter(|it| is_word(it)).map(<[u8]>::len).sum();
    if total == 0 { 0.0 } else { words as f64 / total as f64 }
}

/// The runs of letters, parted where a small letter meets a capital one, as names are.
fn runs(text: &str) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().chunk_by(|left, right| {
        left.is_ascii_alphabetic()
            && right.is_ascii_alphabetic()
            && !(left.is_ascii_lowercase() && right.is_ascii_uppercase())
    })
}

fn is_word(run: &[u8]) -> bool {
    let mean = || {
        let bits: f64 =
            run.iter().zip(run.iter().skip(1)).map(|(first, next)| bits(*first, *next)).sum();
        bits / (run.len() - 1) as f64
    };
    // A capital within is chance, unless all are capitals.
    let even =
        run.iter().skip(2).all(u8::is_ascii_lowercase) || run.iter().all(u8::is_ascii_uppercase);
    match run.len() {
        0..3 => false,
        3 => even && mean() > SHORT_WORD + 0.6,
        4..6 => even && mean() > SHORT_WORD,
        _ => even && mean() > WORD,
    }
}

fn bits(first: u8, next: u8) -> f64 {
    let place = |it: u8| usize::from(it.to_ascii_lowercase().wrapping_sub(b'a'));
    let row = PAIRS.get(place(first));
    let level = row.and_then(|row| row.get(place(next))).copied().unwrap_or(b'a');
    f64::from(level - b'a') * 0.4 - 5.0
}
