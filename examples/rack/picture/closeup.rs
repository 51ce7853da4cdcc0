//! A few milliseconds of the sound, so close that each swap can be seen.

use std::fmt::Write as _;
use std::ops::Range;

use super::Picture;
use super::svg::{Area, Svg};

/// The longest close-up, in seconds: a few thousand points.
const LONGEST: f64 = 0.06;
const SHORTEST: f64 = 0.005;
/// About how many swaps should be seen.
const CHANGES: usize = 10;

/// Draws input and output of the chosen window, and a line at each frame where the effect changes.
pub fn draw(picture: &Picture<'_>, svg: &mut Svg, area: Area) {
    let window = choose(picture);
    let rate = f64::from(picture.rotation.sound.rate);
    let ms = |frame: usize| frame as f64 / rate * 1000.0;
    svg.heading(
        area,
        &format!(
            "Close up, from {:.3} s on: the sound (grey), what was heard (coloured), and each change of the effect (dashed)",
            window.start as f64 / rate
        ),
    );
    picture.amplitude_axis(svg, area);

    let x = |frame: usize| area.x((frame - window.start) as f64 / window.len() as f64);
    let full_scale = picture.full_scale();
    let y = |sample: f32| area.y(f64::from(sample) / full_scale);
    let input = |frame: usize| picture.rotation.sound.samples[frame * picture.channels()];
    let line = |frames: Range<usize>, sample: &dyn Fn(usize) -> f32| {
        let mut data = String::new();
        for (index, frame) in frames.enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(data, "{command}{:.1} {:.1}", x(frame), y(sample(frame)));
        }
        data
    };
    svg.path(&line(window.clone(), &input), "#c8c8c8", 1.2);

    let mut labels = Vec::new();
    for stretch in stretches(picture, window.clone()) {
        let effect = picture.effect(stretch.start);
        let colour = picture.colour(effect);
        if stretch.start > window.start {
            svg.dashed(area, x(stretch.start));
        }
        // Joined to the sample before, which the change cuts off.
        svg.path(&line(stretch.clone(), &|frame| picture.heard(frame)), &colour, 1.6);
        if let Some(entry) = picture.rotation.entries.get(effect) {
            let (from, room) = (x(stretch.start) + 4.0, x(stretch.end) - x(stretch.start));
            if room >= entry.name.chars().count() as f64 * 7.0 {
                labels.push((from, &entry.name));
            }
        }
    }
    for (from, name) in labels {
        svg.haloed_text(from, area.bottom - 6.0, name);
    }
    svg.frame(area);
    svg.ticks_below(area, 0.0, ms(window.len()));
    svg.caption_below(area, "time (ms)");
}

/// The stretches of one effect each.
fn stretches(picture: &Picture<'_>, window: Range<usize>) -> Vec<Range<usize>> {
    let mut stretches = Vec::new();
    let mut start = window.start;
    for frame in window.clone().skip(1) {
        if picture.effect(frame) != picture.effect(frame - 1) {
            stretches.push(start..frame);
            start = frame;
        }
    }
    stretches.push(start..window.end);
    stretches
}

/// Chooses the loudest window in which the effect changes, long enough to see it change often.
fn choose(picture: &Picture<'_>) -> Range<usize> {
    let frames = picture.frames();
    let rate = f64::from(picture.rotation.sound.rate);
    let changes = (1..frames).filter(|&frame| picture.effect(frame) != picture.effect(frame - 1)).count();
    let seconds = (CHANGES * frames / (changes + 1)) as f64 / rate;
    let length = ((seconds.clamp(SHORTEST, LONGEST) * rate) as usize).clamp(1, frames);
    let score = |start: &usize| {
        let window = *start..*start + length;
        let energy: f64 = window
            .clone()
            .map(|frame| f64::from(picture.rotation.sound.samples[frame * picture.channels()]).powi(2))
            .sum();
        let seen = stretches(picture, window).len() - 1;
        // Loudness decides among those that show about as many changes.
        ((seen.min(CHANGES) / 3) as f64, energy)
    };
    let step = (length / 2).max(1);
    let starts = (0..=frames - length).step_by(step);
    let best = starts
        .map(|start| (score(&start), start))
        .max_by(|(one, _), (other, _)| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let start = best.map_or(0, |(_, start)| start);
    start..start + length
}
