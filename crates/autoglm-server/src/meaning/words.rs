//! The words by which questions are told apart.

/// Words that carry no meaning of their own, among them those that begin questions.
pub(super) const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by",
    "can", "could", "describe", "did", "do", "does", "explain", "for", "from", "get", "give",
    "had", "has", "have", "he", "hello", "help", "her", "here", "hi", "his", "how", "i", "i'd",
    "i'll", "i'm", "i've", "if", "in", "into", "is", "it", "its", "just", "kindly", "know", "let",
    "list", "may", "me", "might", "must", "my", "need", "of", "on", "or", "our", "please", "shall",
    "she", "should", "show", "so", "some", "tell", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "those", "to", "us", "want", "was", "we", "were", "what",
    "what's", "when", "where", "which", "who", "whom", "whose", "why", "will", "with", "would",
    "write", "you", "your",
];

/// Kinds of questions; "how" and "what" begin too many to tell them apart.
pub(super) const INTERROGATIVES: &[&str] = &[
    "when", "where", "who", "whom", "whose", "why", "many", "much", "often", "long", "far", "old",
];

/// Words that deny; those that end in "n't" beside them.
pub(super) const NEGATIONS: &[&str] = &[
    "not", "no", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "without",
    "cannot", "hardly", "except", "unless", "but", "fail", "fails", "failed", "lack", "lacks",
    "stop", "avoid", "refuse", "refuses",
];

/// Names of numbers, by the number.
pub(super) const NUMBERS: &[&str] = &[
    "zero nil",
    "one once first single",
    "two twice second double pair both",
    "three third triple",
    "four fourth",
    "five fifth",
    "six sixth",
    "seven seventh",
    "eight eighth",
    "nine ninth",
    "ten tenth",
    "eleven",
    "twelve dozen",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "hundred",
    "thousand",
    "million",
    "billion",
    "half",
    "quarter",
];

/// What turns a word round where it stands before it.
pub(super) const PREFIXES: &[&str] = &[
    "un", "in", "im", "ir", "il", "dis", "non", "mis", "de", "anti", "over", "under", "out",
];

/// Oppositions: words of one side, then of the other, or others. Where the other side is a word that
/// stands in every second question, only one is here: with it or without it is the difference.
pub(super) const OPPOSITES: &[&str] = &[
    "off",
    "into inside inward|out outside outward",
    "up|down",
    "before until till|after since",
    "more|less fewer",
    "most|least",
    "always|sometimes|rarely seldom",
    "all every everyone|some|few",
    "open opened|close closed shut",
    "start begin began enable activate|end finish disable deactivate",
    "increase raise grow rise gain|decrease reduce lower shrink fall drop lose",
    "add insert include attach|remove delete exclude detach",
    "buy purchase|sell sold",
    "send sent give gave|receive got",
    "push|pull",
    "lock|unlock",
    "win won|lose lost",
    "accept allow approve permit|reject deny forbid block decline",
    "import|export",
    "upload|download",
    "install|uninstall",
    "login|logout",
    "connect|disconnect",
    "borrow|lend",
    "encode encrypt|decode decrypt",
    "create make|destroy",
    "keep|discard",
    "big bigger biggest large larger largest great greater greatest|small smaller smallest little",
    "long longer longest|short shorter shortest",
    "high higher highest tall tallest|low lowest",
    "fast faster fastest quick|slow slower slowest",
    "hot hotter hottest warm|cold colder coldest cool",
    "new newer newest young youngest|old older oldest",
    "early earlier earliest|late later latest",
    "good better best|bad worse worst",
    "right correct true|wrong incorrect false",
    "left|right",
    "easy easier easiest simple|hard harder hardest difficult",
    "cheap cheaper cheapest|expensive dear",
    "safe safer safest|dangerous unsafe harmful",
    "hard|soft",
    "light lighter|heavy heavier",
    "light|dark",
    "strong|weak",
    "rich|poor",
    "full|empty",
    "wet|dry",
    "clean|dirty",
    "same equal|different",
    "many much|few little",
    "max maximum|min minimum",
    "first initial|last final",
    "next|previous",
    "above over|below under",
    "front|back",
    "near close|far",
    "top|bottom",
    "north|south",
    "east|west",
    "morning|evening night",
    "today|yesterday|tomorrow",
    "day|week|month|year|hour|minute|second",
    "now|then|later|ago",
    "advantage pro benefit|disadvantage con drawback risk",
    "cause|effect consequence",
    "question|answer",
    "male man boy he him his father brother husband son|female woman girl she her mother sister wife daughter",
    "parent|child",
    "teacher|student",
    "love like|hate dislike",
    "positive|negative",
    "active|passive",
    "public|private",
    "input|output",
    "source|target",
    "old|young",
    "alive live|dead die",
    "war|peace",
    "kilometre kilometer km|mile|metre meter|foot feet|inch",
    "celsius|fahrenheit|kelvin",
    "kilogram kg|pound|ounce|gram",
    "euro|dollar|yuan|pound|yen",
    "breakfast|lunch|dinner",
    "spring|summer|autumn|winter",
    "must should ought",
    "from",
];

/// Chinese characters that carry no meaning of their own in a question.
const FUNCTION: &str = "的了吗呢吧啊呀么嘛吗我你您他她它们这那哪请问想要能可以会怎如何什谁样为是有在把被和与就都也还很\
    一个下给让请帮告诉知道说讲做办呗哦嗯想得地着过";

/// Chinese digits and what they are counted by.
const NUMERALS: &str = "零〇两二三四五六七八九十百千万亿半几";

/// Chinese characters that deny.
const DENYING: &str = "不没无非未别勿莫否毋";

/// Whether a character is a Chinese one.
pub(super) fn is_chinese(char: char) -> bool {
    matches!(char as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2FA1F)
        || char == '〇'
}

/// Whether a Chinese character carries meaning.
pub(super) fn is_content(char: &str) -> bool {
    !FUNCTION.contains(char) && !NUMERALS.contains(char) && !DENYING.contains(char)
}

/// Whether a Chinese character is a number's.
pub(super) fn is_numeral(char: &str) -> bool {
    NUMERALS.contains(char)
}

/// Whether a character denies.
pub(super) fn negates(char: char) -> bool {
    DENYING.contains(char)
}
