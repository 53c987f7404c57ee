//! The number that a text answers with, exactly.

/// What an answer is announced with; the last of them counts.
const MARKERS: [&str; 10] = [
    "####",
    "\\boxed{",
    "answer is",
    "answer:",
    "答案是",
    "答案为",
    "答案：",
    "答案:",
    "等于",
    "结果是",
];

/// An exact number: a fraction in lowest terms with a positive denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    numerator: i128,
    denominator: i128,
}

impl Number {
    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        let divisor = common_divisor(numerator.checked_abs()?, denominator.checked_abs()?);
        let sign = denominator.signum();
        (denominator != 0).then(|| Self {
            numerator: sign * numerator / divisor,
            denominator: sign * denominator / divisor,
        })
    }

    /// The number as text: `18`, `-3/4`.
    pub fn text(&self) -> String {
        match self.denominator {
            1 => self.numerator.to_string(),
            denominator => format!("{}/{denominator}", self.numerator),
        }
    }
}

/// The number that a text answers with: the first behind the last announcement (`####`, `the
/// answer is`, `答案是`) that has one, or else the last of the text.
///
/// Digits may be full-width, thousands parted by commas, `3/4` is a fraction, `3.5万` and `三百二`
/// are Chinese numbers; these count where no digits are there, as `一` occurs in many words. Signs
/// of currency and percent are passed over.
pub fn answer_number(text: &str) -> Option<Number> {
    let text: String = text.chars().map(half_width).collect();
    let lower = text.to_lowercase();
    let behind = announced(&lower);
    let behind = behind.filter(|part| digits(part).next().is_some() || han(part).next().is_some());
    if let Some(part) = behind {
        return digits(part).next().or_else(|| han(part).next());
    }
    digits(&lower).last().or_else(|| han(&lower).last())
}

/// What stands behind the last announcement that a number follows.
pub(super) fn announced(lower: &str) -> Option<&str> {
    let ends = MARKERS.iter().flat_map(|marker| {
        let found = lower.match_indices(marker);
        found.map(|(place, marker)| place + marker.len())
    });
    let mut ends: Vec<usize> = ends.collect();
    ends.sort_unstable();
    let filled = |end: &&usize| lower[**end..].chars().any(char::is_alphanumeric);
    ends.iter().rev().find(filled).map(|&end| &lower[end..])
}

fn half_width(c: char) -> char {
    match c {
        '０'..='９' | '．' | '－' | '／' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '−' => '-',
        c => c,
    }
}

fn common_divisor(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// The numbers in digits, in order.
fn digits(text: &str) -> impl Iterator<Item = Number> {
    let chars: Vec<char> = text.chars().collect();
    let mut place = 0;
    std::iter::from_fn(move || {
        while place < chars.len() {
            if chars[place].is_ascii_digit() {
                let (number, end) = number_at(&chars, place);
                place = end;
                if number.is_some() {
                    return number;
                }
            } else {
                place += 1;
            }
        }
        None
    })
}

/// The number whose first digit stands at `start`, and where it ends.
fn number_at(chars: &[char], start: usize) -> (Option<Number>, usize) {
    let (whole, mut end) = grouped(chars, start);
    let mut number = decimal(&whole, "");
    let follows = |end: usize, mark: char| {
        chars.get(end) == Some(&mark) && chars.get(end + 1).is_some_and(char::is_ascii_digit)
    };
    if follows(end, '.') {
        let (fraction, after) = plain(chars, end + 1);
        number = decimal(&whole, &fraction);
        end = after;
    } else if follows(end, '/') {
        let (below, after) = plain(chars, end + 1);
        // Of `05/01/2021` the parts are numbers of their own.
        if !follows(after, '/') && (start == 0 || chars[start - 1] != '/') {
            let parts = (whole.parse().ok(), below.parse().ok());
            number = match parts {
                (Some(above), Some(below)) => Number::new(above, below),
                _ => None,
            };
            end = after;
        }
    }
    if let Some(unit) = chars.get(end).copied().and_then(large_unit) {
        number = number.and_then(|n| Number::new(n.numerator.checked_mul(unit)?, n.denominator));
        end += 1;
    }
    let number = number.map(|n| {
        if is_negative(chars, start) {
            negated(n)
        } else {
            n
        }
    });
    (number, end)
}

fn negated(number: Number) -> Number {
    Number {
        numerator: -number.numerator,
        ..number
    }
}

/// Whether a minus before the number is its sign and not that of a subtraction or a range.
fn is_negative(chars: &[char], start: usize) -> bool {
    let mut before = start;
    while before > 0 && matches!(chars[before - 1], '$' | '€' | '£' | '¥' | '￥') {
        before -= 1;
    }
    if before == 0 || chars[before - 1] != '-' {
        return false;
    }
    let left = before.checked_sub(2).map(|place| chars[place]);
    left.is_none_or(|c| !c.is_alphanumeric() && c != ')' && c != '-')
}

/// Digits from `start` on, with commas where they part thousands, and where they end.
fn grouped(chars: &[char], start: usize) -> (String, usize) {
    let (mut all, mut end) = plain(chars, start);
    if all.len() > 3 {
        return (all, end);
    }
    while chars.get(end) == Some(&',') {
        let (group, after) = plain(chars, end + 1);
        if group.len() != 3 {
            break;
        }
        all.push_str(&group);
        end = after;
    }
    (all, end)
}

fn plain(chars: &[char], start: usize) -> (String, usize) {
    let rest = chars.get(start..).unwrap_or_default();
    let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
    let end = start + digits.len();
    (digits, end)
}

fn decimal(whole: &str, fraction: &str) -> Option<Number> {
    let fraction = fraction.trim_end_matches('0');
    let below = 10i128.checked_pow(fraction.len() as u32)?;
    Number::new(format!("{whole}{fraction}").parse().ok()?, below)
}

fn large_unit(c: char) -> Option<i128> {
    match c {
        '万' | '萬' => Some(10_000),
        '亿' | '億' => Some(100_000_000),
        _ => None,
    }
}

/// The numbers in Chinese characters, in order.
fn han(text: &str) -> impl Iterator<Item = Number> {
    let is_part =
        |c: char| han_digit(c).is_some() || small_unit(c).is_some() || large_unit(c).is_some();
    let runs = text.split(move |c: char| !is_part(c));
    runs.filter(|run| !run.is_empty()).filter_map(han_number)
}

/// A number such as 三百二十 or 一万零五; 二〇二六 digit by digit.
fn han_number(run: &str) -> Option<Number> {
    let has_unit = run
        .chars()
        .any(|c| small_unit(c).is_some() || large_unit(c).is_some());
    if !has_unit {
        let digits: Option<String> = run
            .chars()
            .map(|c| Some(han_digit(c)?.to_string()))
            .collect();
        return decimal(&digits?, "");
    }
    let (mut total, mut section, mut digit) = (0i128, 0i128, None);
    let mut last_unit = 1;
    for c in run.chars() {
        if let Some(value) = han_digit(c) {
            digit = Some(value);
            // 一百零五: behind a zero the next digit counts ones.
            if value == 0 {
                last_unit = 1;
            }
        } else if let Some(unit) = small_unit(c) {
            section += digit.take().unwrap_or(1) * unit;
            last_unit = unit;
        } else if let Some(unit) = large_unit(c) {
            let below = section + digit.take().unwrap_or(0);
            total = (total + below).checked_mul(unit)?;
            section = 0;
            last_unit = unit;
        }
    }
    // 三百二 is 320, 一万二 is 12,000.
    let rest = digit.map_or(0, |digit| digit * (last_unit / 10).max(1));
    Number::new(total.checked_add(section + rest)?, 1)
}

fn han_digit(c: char) -> Option<i128> {
    let place = "零一二三四五六七八九".chars().position(|digit| digit == c);
    match c {
        '〇' => Some(0),
        '两' => Some(2),
        _ => place.map(|place| place as i128),
    }
}

fn small_unit(c: char) -> Option<i128> {
    match c {
        '十' => Some(10),
        '百' => Some(100),
        '千' => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_number_is_found() {
        let cases = [
            ("She makes 9 * 2 = 18.\n#### 18", Some("18")),
            ("#### $1,234.50 in all, of 7", Some("2469/2")),
            ("The answer is 3/4 of 12.", Some("3/4")),
            ("the answer is -5.", Some("-5")),
            ("from 16-3", Some("3")),
            ("a loss of -$20", Some("-20")),
            ("So it is 50%", Some("50")),
            ("So it is 50.00", Some("50")),
            ("1,2345", Some("2345")),
            ("on 05/01/2021", Some("2021")),
            ("\\boxed{42}", Some("42")),
            ("答案是３６０", Some("360")),
            ("一共有三百二十个苹果", Some("320")),
            ("三百二", Some("320")),
            ("一百零五", Some("105")),
            ("一万二", Some("12000")),
            ("十五", Some("15")),
            ("两千零三", Some("2003")),
            ("二〇二六", Some("2026")),
            ("利润是3.5万元", Some("35000")),
            ("一起买了12个", Some("12")),
            ("答案：十二", Some("12")),
            ("2 apples. The answer is unclear", Some("2")),
            ("no number", None),
            ("1/0", None),
            ("99999999999999999999999999999999999999999", None),
            ("#### 7\n#### ", Some("7")),
        ];
        for (text, wanted) in cases {
            let got = answer_number(text).map(|number| number.text());
            assert_eq!(got.as_deref(), wanted, "{text}");
        }
    }
}
