//! Two kinds of chart: bars side by side, and lines over a number.

use crate::svg::{Anchor, Svg};

/// Colours of series, in order: distinct for readers who do not see all of them.
pub const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#a0522d"];

const TITLE: f64 = 24.0;
const SUBTITLE: f64 = 42.0;

/// An axis of numbers.
#[derive(Clone, Copy, Debug)]
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Scale {
    /// Spans `values`: from 0 to a little more than the largest, or whole decades if `log`.
    fn over(values: impl Iterator<Item = f64> + Clone, log: bool, start: f64, end: f64) -> Self {
        let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        let least = values.filter(|value| *value > 0.0).fold(most, f64::min);
        let (from, to) = if log {
            (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))
        } else {
            (0.0, most * 1.05)
        };
        Self { from, to: if to > from { to } else { from * 10.0 }, start, end, log }
    }

    fn at(self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share * (self.end - self.start)
    }

    /// Where to put marks: decades, or some five round numbers.
    fn marks(self) -> Vec<f64> {
        if self.log {
            let decades = (self.to / self.from).log10().round() as i32;
            return (0..=decades).map(|decade| self.from * 10_f64.powi(decade)).collect();
        }
        let rough = self.to / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * decade)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        (0_i32..).map(|mark| f64::from(mark) * step).take_while(|mark| *mark <= self.to).collect()
    }
}

/// A bar: its name, its value, and the spread around it.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The name.
    pub name: String,
    /// The value.
    pub value: f64,
    /// First and third quartile, or the like.
    pub spread: Option<(f64, f64)>,
    /// The index of its colour.
    pub colour: usize,
}

/// Bars from left to right, one below the other. `legend` says what the colours mean. The axis is logarithmic if `log`.
#[must_use]
pub fn bars(title: &str, subtitle: &str, axis: &str, legend: &[&str], bars: &[Bar], log: bool) -> String {
    let (left, top, step) = (250.0, 62.0, 22.0);
    let bottom = top + step * bars.len() as f64;
    let (width, height) = (900.0, bottom + 54.0);
    let mut svg = Svg::new(width, height);
    head(&mut svg, title, subtitle);
    for (index, name) in legend.iter().enumerate() {
        let (x, y) = (width - 110.0, TITLE + 20.0 * index as f64);
        svg.rect((x, y - 9.0), (14.0, 10.0), COLOURS[index % COLOURS.len()]);
        svg.text(x + 20.0, y, Anchor::Start, 12.0, name);
    }
    let scale = Scale::over(bars.iter().map(|bar| bar.value), log, left, width - 80.0);
    for mark in scale.marks() {
        let x = scale.at(mark);
        svg.line((x, top), (x, bottom), "#dddddd", 1.0);
        svg.text(x, bottom + 16.0, Anchor::Middle, 11.0, &short(mark));
    }
    svg.text((left + width - 80.0) / 2.0, bottom + 38.0, Anchor::Middle, 12.0, axis);
    for (index, bar) in bars.iter().enumerate() {
        let y = top + step * index as f64;
        svg.text(left - 8.0, y + 15.0, Anchor::End, 12.0, &bar.name);
        let end = scale.at(bar.value);
        svg.rect((left, y + 4.0), ((end - left).max(1.0), step - 8.0), COLOURS[bar.colour % COLOURS.len()]);
        if let Some((from, to)) = bar.spread {
            svg.line((scale.at(from), y + step / 2.0), (scale.at(to), y + step / 2.0), "#000000", 1.5);
        }
        let label = end.max(bar.spread.map_or(end, |(_, to)| scale.at(to))) + 6.0;
        svg.text(label, y + 15.0, Anchor::Start, 11.0, &short(bar.value));
    }
    svg.line((left, top), (left, bottom), "#444444", 1.5);
    svg.finish(title)
}

/// A line: its name, and its points.
#[derive(Clone, Debug)]
pub struct Line {
    /// The name.
    pub name: String,
    /// The points, by the number on the horizontal axis.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a logarithmic horizontal axis. The vertical one is logarithmic if `log`.
#[must_use]
pub fn lines(title: &str, subtitle: &str, axes: (&str, &str), lines: &[Line], log: bool) -> String {
    let (left, top, right, bottom) = (96.0, 62.0, 720.0, 440.0);
    let mut svg = Svg::new(960.0, bottom + 56.0);
    head(&mut svg, title, subtitle);
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = {
        let most = points().map(|point| point.0).fold(2.0, f64::max);
        let least = points().map(|point| point.0).fold(most, f64::min);
        Scale { from: least, to: most, start: left, end: right, log: true }
    };
    let up = Scale::over(points().map(|point| point.1), log, bottom, top);
    for mark in up.marks() {
        let y = up.at(mark);
        svg.line((left, y), (right, y), "#dddddd", 1.0);
        svg.text(left - 8.0, y + 4.0, Anchor::End, 11.0, &short(mark));
    }
    let mut marked: Vec<f64> = points().map(|point| point.0).collect();
    marked.sort_by(f64::total_cmp);
    marked.dedup();
    let mut last = f64::NEG_INFINITY;
    for mark in marked {
        let x = across.at(mark);
        svg.line((x, bottom), (x, bottom + 4.0), "#444444", 1.0);
        if x - last > 40.0 {
            svg.text(x, bottom + 18.0, Anchor::Middle, 11.0, &short(mark));
            last = x;
        }
    }
    svg.text(f64::midpoint(left, right), bottom + 42.0, Anchor::Middle, 12.0, axes.0);
    svg.text_upwards(20.0, f64::midpoint(top, bottom), 12.0, axes.1);
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<(f64, f64)> = line.points.iter().map(|&(x, y)| (across.at(x), up.at(y))).collect();
        svg.path(&points, colour, 2.0);
        for point in points {
            svg.dot(point, 3.0, colour);
        }
        let y = top + 12.0 + 20.0 * index as f64;
        svg.rect((right + 20.0, y - 9.0), (14.0, 10.0), colour);
        svg.text(right + 40.0, y, Anchor::Start, 12.0, &line.name);
    }
    svg.line((left, top), (left, bottom), "#444444", 1.5);
    svg.line((left, bottom), (right, bottom), "#444444", 1.5);
    svg.finish(title)
}

fn head(svg: &mut Svg, title: &str, subtitle: &str) {
    svg.text(16.0, TITLE, Anchor::Start, 16.0, title);
    svg.text(16.0, SUBTITLE, Anchor::Start, 11.0, subtitle);
}

/// A number in few characters: `0.93`, `12.5`, `16,384`, `2M`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        _ => (value, ""),
    };
    let text = match scaled.abs() {
        size if size >= 1_000.0 => format!("{},{:03}", (scaled as i64) / 1_000, (scaled as i64) % 1_000),
        size if size >= 100.0 => format!("{scaled:.0}"),
        size if size >= 10.0 => format!("{scaled:.1}"),
        _ => format!("{scaled:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::{Bar, Line, Scale, bars, lines, short};

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.93, 2.0, 12.5, 256.0, 16_384.0, 2.5e6].map(short);
        assert_eq!(texts, ["0", "0.93", "2", "12.5", "256", "16,384", "2.5M"]);
    }

    #[test]
    fn marks_lie_on_the_scale() {
        for log in [false, true] {
            let scale = Scale::over([0.3, 70.0].into_iter(), log, 0.0, 100.0);
            assert!(scale.marks().len() >= 3);
            for mark in scale.marks() {
                assert!((-0.01..=100.01).contains(&scale.at(mark)), "{mark}");
            }
        }
    }

    #[test]
    fn charts_have_title_axes_and_names() {
        let bar = Bar { name: "a<b".into(), value: 1.0, spread: Some((0.9, 1.1)), colour: 0 };
        let svg = bars("the title", "machine", "ns a call", &["ours"], &[bar], false);
        assert!(
            svg.contains("the title")
                && svg.contains("ns a call")
                && svg.contains("ours")
                && svg.contains("a&lt;b")
        );
        let line = Line { name: "row".into(), points: vec![(1.0, 2.0), (16.0, 3.0)] };
        let svg = lines("the title", "machine", ("sites", "ns"), &[line], true);
        assert!(svg.contains("polyline") && svg.contains("sites") && svg.contains("row"));
    }
}
