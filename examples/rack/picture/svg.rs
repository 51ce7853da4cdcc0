//! The few shapes that the picture is made of, as SVG.

use std::fmt::Write as _;
use std::io;

/// A rectangle of the picture that a diagram fills.
#[derive(Clone, Copy)]
pub struct Area {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Area {
    /// Where `part` of the width is, from 0 at the left to 1 at the right.
    pub fn x(self, part: f64) -> f64 {
        self.left + part * (self.right - self.left)
    }

    /// Where `value` is, from -1 at the bottom to 1 at the top.
    pub fn y(self, value: f64) -> f64 {
        (self.top + self.bottom) / 2.0 - value * (self.bottom - self.top) / 2.0
    }

    pub fn width(self) -> f64 {
        self.right - self.left
    }
}

/// Which end of a text is at the given place.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A picture in the making.
pub struct Svg {
    text: String,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Self {
        let mut svg = Self { text: String::new() };
        svg.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui,sans-serif\" font-size=\"12\" fill=\"#222\">"
        ));
        svg.rectangle(0.0, 0.0, width, height, "#fff");
        svg
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{shape}");
    }

    pub fn write(mut self, mut file: impl io::Write) -> io::Result<()> {
        self.push(format_args!("</svg>"));
        file.write_all(self.text.as_bytes())?;
        file.flush()
    }

    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        ));
    }

    /// A line through `data`, in the notation of SVG paths.
    pub fn path(&mut self, data: &str, colour: &str, width: f64) {
        self.push(format_args!(
            "<path d=\"{data}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>"
        ));
    }

    /// A dashed line from the top of an area to its bottom.
    pub fn dashed(&mut self, area: Area, x: f64) {
        let Area { top, bottom, .. } = area;
        self.push(format_args!(
            "<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"#444\" stroke-width=\"0.8\" stroke-dasharray=\"4 3\"/>"
        ));
    }

    pub fn title(&mut self, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"18\" font-weight=\"600\">{text}</text>"
        ));
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let (anchor, text) = (anchor.name(), escaped(text));
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    pub fn faint_text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let (anchor, text) = (anchor.name(), escaped(text));
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#666\">{text}</text>"
        ));
    }

    /// A text that can be read on top of a diagram.
    pub fn haloed_text(&mut self, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#444\" stroke=\"#fff\" stroke-width=\"4\" \
             paint-order=\"stroke\">{text}</text>"
        ));
    }

    /// The frame of a diagram.
    pub fn frame(&mut self, area: Area) {
        let Area { left, right, top, bottom } = area;
        self.path(&format!("M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}Z"), "#bbb", 1.0);
    }

    /// A labelled tick at the left of an area, and a faint line across it.
    pub fn tick_left(&mut self, area: Area, y: f64, label: &str) {
        self.path(&format!("M{:.1} {y:.1}H{:.1}", area.left, area.right), "#eee", 1.0);
        self.text(area.left - 6.0, y + 4.0, Anchor::End, label);
    }

    /// Labelled ticks below an area for a quantity that runs from `from` to `to`.
    pub fn ticks_below(&mut self, area: Area, from: f64, to: f64) {
        let step = round_step((to - from) / 10.0);
        let decimals = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
        let first = (from / step).ceil() as i64;
        for tick in (first..).map(|count| count as f64 * step).take_while(|tick| *tick <= to + step * 1e-6) {
            let x = area.x((tick - from) / (to - from));
            self.path(&format!("M{x:.1} {:.1}v4", area.bottom), "#888", 1.0);
            self.text(x, area.bottom + 17.0, Anchor::Middle, &format!("{tick:.decimals$}"));
        }
    }

    pub fn caption_below(&mut self, area: Area, text: &str) {
        self.text((area.left + area.right) / 2.0, area.bottom + 33.0, Anchor::Middle, text);
    }

    /// A caption at the left of an area, read upwards.
    pub fn caption_left(&mut self, area: Area, text: &str) {
        let (x, y, text) = (area.left - 46.0, (area.top + area.bottom) / 2.0, escaped(text));
        self.push(format_args!(
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\">{text}</text>"
        ));
    }

    pub fn heading(&mut self, area: Area, text: &str) {
        let (x, y, text) = (area.left, area.top - 8.0, escaped(text));
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"600\">{text}</text>"));
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10.0_f64.powf(step.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= step * 0.999_999);
    digit.unwrap_or(10.0) * power
}

fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{escaped, round_step};

    #[test]
    fn steps_are_round() {
        for (step, rounded) in [(0.8, 1.0), (1.0, 1.0), (1.2, 2.0), (3.0, 5.0), (6.0, 10.0), (0.03, 0.05)] {
            assert!((round_step(step) - rounded).abs() < 1e-9, "{step}");
        }
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escaped("a<b>&\u{1b}c"), "a&lt;b&gt;&amp;c");
    }
}
