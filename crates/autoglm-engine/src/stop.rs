//! Stop strings in streamed text: text is final only when no stop string can begin in it.

/// Watches the text of one completion for stop strings.
pub(crate) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// A matcher for these strings; empty ones are ignored.
    pub(crate) fn new(stops: &[String]) -> Self {
        let stops = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .cloned()
            .collect();
        Self {
            stops,
            held: String::new(),
        }
    }

    /// Takes further text; returns what has become final, and whether a stop string ended it.
    /// After that nothing more may be pushed.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let found = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.undecided();
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The text that was held back, when no more comes.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the held text that begins a stop string, in bytes.
    fn undecided(&self) -> usize {
        let held = &self.held;
        let starts = held.char_indices().map(|(at, _)| held.len() - at);
        starts
            .filter(|&len| {
                let end = &held[held.len() - len..];
                self.stops.iter().any(|stop| stop.starts_with(end))
            })
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|&s| s.to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut out = String::new();
        for piece in pieces {
            let (text, stopped) = matcher.push(piece);
            out += &text;
            if stopped {
                return (out, true);
            }
        }
        (out + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_found() {
        assert_eq!(run(&["\n\n"], &["a\n", "\nb"]), ("a".into(), true));
    }

    #[test]
    fn the_earliest_stop_string_ends_the_text() {
        assert_eq!(run(&["cd", "b"], &["abcd"]), ("a".into(), true));
    }

    #[test]
    fn text_that_only_begins_a_stop_string_comes_out_in_the_end() {
        assert_eq!(run(&["END"], &["the EN"]), ("the EN".into(), false));
    }

    #[test]
    fn an_empty_stop_string_does_nothing() {
        assert_eq!(run(&[""], &["abc"]), ("abc".into(), false));
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_text_gives(
            text in "[ab的]{0,12}", stop in "[ab的]{1,3}", cuts in prop::collection::vec(0_usize..12, 0..4),
        ) {
            let chars: Vec<char> = text.chars().collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(chars.len())).collect();
            cuts.extend([0, chars.len()]);
            cuts.sort_unstable();
            let pieces: Vec<String> =
                cuts.windows(2).map(|w| chars[w[0]..w[1]].iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let wanted = match text.find(&stop) {
                Some(at) => (text[..at].to_owned(), true),
                None => (text.clone(), false),
            };
            prop_assert_eq!(run(&[&stop], &pieces), wanted);
        }
    }
}
