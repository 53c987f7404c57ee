//! Plots as SVG: a frame with two axes, and what is drawn into it.

use maud::{Markup, html};

/// Room for the numbers and the title of the upright axis.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
/// Room for the numbers and the title of the level axis.
const BOTTOM: f64 = 40.0;

/// An axis with what is written along it.
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Shares from 0 to 1.
    pub(super) fn shares(title: &'static str) -> Self {
        Self::between(title, 0.0, 1.0)
    }

    /// Shares that include these, with ticks at round ones.
    pub(super) fn between(title: &'static str, least: f64, most: f64) -> Self {
        let steps = [0.01, 0.02, 0.05, 0.1];
        let fits = |step: &&f64| (most - least) / *step <= 5.0;
        let step = *steps.iter().find(fits).unwrap_or(&0.2);
        let first = ((least / step).floor()).max(0.0) as usize;
        let last = ((most / step).ceil() as usize).max(first + 1);
        let tick = |place: usize| {
            let value = place as f64 * step;
            let digits = if step < 0.1 { 2 } else { 1 };
            (value, format!("{value:.digits$}"))
        };
        Self {
            title,
            from: first as f64 * step,
            to: last as f64 * step,
            ticks: (first..=last).map(tick).collect(),
        }
    }

    /// Things by their numbers, from 1 on, each with room around it.
    pub(super) fn numbers(title: &'static str, count: usize) -> Self {
        let apart = count.div_ceil(10).max(1);
        let ticks = (1..=count).step_by(apart);
        Self {
            title,
            from: 0.4,
            to: count as f64 + 0.6,
            ticks: ticks.map(|n| (n as f64, n.to_string())).collect(),
        }
    }

    /// Counts from 0 on.
    pub(super) fn counts(title: &'static str, most: u64) -> Self {
        let most = most.max(1);
        let scale = 10_u64.pow(most.ilog10());
        let steps = [1, 2, 5, 10, 20, 50].map(|n| (n * scale).div_ceil(10));
        let step = *steps
            .iter()
            .find(|step| most.div_ceil(**step) <= 5)
            .unwrap_or(&scale);
        let ticks = (0..=most).step_by(step.max(1) as usize);
        Self {
            title,
            from: 0.0,
            to: most as f64,
            ticks: ticks.map(|n| (n as f64, n.to_string())).collect(),
        }
    }

    fn place(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// A plot's size and axes.
pub(super) struct Frame {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Frame {
    pub(super) fn x(&self, value: f64) -> f64 {
        rounded(LEFT + self.x.place(value) * (self.width - LEFT - RIGHT))
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let room = self.height - TOP - BOTTOM;
        rounded(self.height - BOTTOM - self.y.place(value) * room)
    }

    /// A line through points.
    pub(super) fn line(&self, class: &str, points: &[(f64, f64)]) -> Markup {
        let place = |(x, y): &(f64, f64)| format!("{},{}", self.x(*x), self.y(*y));
        let places: Vec<String> = points.iter().map(place).collect();
        html! { polyline class=(class) points=(places.join(" ")) {} }
    }

    /// An upright interval with bars at its ends.
    pub(super) fn whisker(&self, x: f64, [low, high]: [f64; 2]) -> Markup {
        let (x, low, high) = (self.x(x), self.y(low), self.y(high));
        let path = format!(
            "M{x},{low}V{high}M{},{low}h6M{},{high}h6",
            rounded(x - 3.0),
            rounded(x - 3.0)
        );
        html! { path.whisker d=(path) {} }
    }

    fn axes(&self) -> Markup {
        let (left, right) = (LEFT, self.width - RIGHT);
        let (top, bottom) = (TOP, self.height - BOTTOM);
        html! {
            g.axes {
                @for (value, text) in &self.y.ticks {
                    line.grid x1=(left) x2=(right) y1=(self.y(*value)) y2=(self.y(*value)) {}
                    text x=(left - 6.0) y=(self.y(*value) + 4.0) text-anchor="end" { (text) }
                }
                @for (value, text) in &self.x.ticks {
                    line.tick x1=(self.x(*value)) x2=(self.x(*value)) y1=(bottom) y2=(bottom + 4.0) {}
                    text x=(self.x(*value)) y=(bottom + 16.0) text-anchor="middle" { (text) }
                }
                line.axis x1=(left) x2=(right) y1=(bottom) y2=(bottom) {}
                text.title x=(rounded(f64::midpoint(left, right))) y=(self.height - 6.0)
                    text-anchor="middle" { (self.x.title) }
                text.title transform={"translate(11 " (rounded(f64::midpoint(top, bottom))) ") rotate(-90)"}
                    text-anchor="middle" { (self.y.title) }
            }
        }
    }
}

/// A plot with its words.
pub(super) struct Plot<'a> {
    /// Unique in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What it shows, for those who cannot see it.
    pub(super) description: String,
    pub(super) frame: &'a Frame,
}

impl Plot<'_> {
    pub(super) fn draw(&self, content: &Markup) -> Markup {
        let (title, description) = (format!("{}-t", self.id), format!("{}-d", self.id));
        let size = format!("0 0 {} {}", self.frame.width, self.frame.height);
        html! {
            svg viewBox=(size) role="img" aria-labelledby={(title) " " (description)} {
                title id=(title) { (self.title) }
                desc id=(description) { (self.description) }
                (self.frame.axes())
                (content)
            }
        }
    }
}

/// A length to a tenth, which is finer than any screen.
fn rounded(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn axes_hold_what_they_must_and_have_few_round_ticks() {
        assert_eq!(
            ticks(&Axis::shares("s")),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            ticks(&Axis::between("s", 0.912, 0.944)),
            ["0.91", "0.92", "0.93", "0.94", "0.95"]
        );
        assert_eq!(ticks(&Axis::between("s", 0.5, 0.5)).len(), 2);
        assert_eq!(ticks(&Axis::counts("n", 60)), ["0", "20", "40", "60"]);
        assert_eq!(ticks(&Axis::counts("n", 1)), ["0", "1"]);
        assert_eq!(ticks(&Axis::numbers("n", 3)), ["1", "2", "3"]);
        for most in 1..3_000 {
            assert!(
                (2..=7).contains(&Axis::counts("n", most).ticks.len()),
                "{most}"
            );
        }
    }

    #[test]
    fn places_stay_inside_the_frame() {
        let frame = Frame {
            width: 300.0,
            height: 200.0,
            x: Axis::shares("x"),
            y: Axis::shares("y"),
        };
        assert_eq!(
            (frame.x(0.0), frame.x(1.0), frame.x(7.0)),
            (46.0, 288.0, 288.0)
        );
        assert_eq!((frame.y(0.0), frame.y(1.0)), (160.0, 10.0));
    }
}
