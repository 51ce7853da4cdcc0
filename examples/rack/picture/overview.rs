//! The whole sound: its waveform coloured by effect, and how often it was swapped.

use std::fmt::Write as _;

use super::Picture;
use super::svg::{Anchor, Area, Svg};
use crate::report::grouped;

/// Draws the waveform: in each column its lowest and highest sample, in the colour of the effect that made most.
pub fn draw(picture: &Picture<'_>, svg: &mut Svg, area: Area) {
    svg.heading(area, "What was heard, in the colour of the effect that made it");
    picture.amplitude_axis(svg, area);
    let columns = area.width() as usize;
    let full_scale = picture.full_scale();
    let mut paths = vec![String::new(); picture.rotation.entries.len()];
    for column in 0..columns {
        let start = column * picture.frames() / columns;
        let end = ((column + 1) * picture.frames() / columns).max(start + 1).min(picture.frames());
        if start >= end {
            continue;
        }
        let mut made = vec![0_usize; paths.len()];
        let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
        for frame in start..end {
            if let Some(made) = made.get_mut(picture.effect(frame)) {
                *made += 1;
            }
            let heard = f64::from(picture.heard(frame)) / full_scale;
            (lowest, highest) = (lowest.min(heard), highest.max(heard));
        }
        let Some(most) = (0..made.len()).max_by_key(|&effect| made[effect]) else { continue };
        let x = area.left + column as f64 + 0.5;
        // At least a dot, in silence too.
        let (top, bottom) = (area.y(highest), area.y(lowest).max(area.y(highest) + 1.0));
        let _ = write!(paths[most], "M{x:.1} {top:.1}V{bottom:.1}");
    }
    for (effect, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        svg.path(path, &picture.colour(effect), 1.0);
    }
    svg.frame(area);
    svg.ticks_below(area, 0.0, picture.rotation.sound.seconds());
}

/// Draws how many swaps there were in each part of the run, below the sound over which the run was spread.
pub fn draw_density(picture: &Picture<'_>, svg: &mut Svg, area: Area) {
    let counts = picture.marks.map_or(&[][..], |marks| &marks.counts);
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (part, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let x = area.x((part as f64 + 0.5) / counts.len() as f64);
        let height = f64::from(*count) / f64::from(most) * (area.bottom - area.top);
        let _ = write!(bars, "M{x:.1} {:.1}v-{height:.1}", area.bottom);
    }
    svg.path(&bars, "#666", area.width() / counts.len().max(1) as f64 - 0.5);
    svg.frame(area);
    let part_ms = picture.run_seconds * 1000.0 / counts.len().max(1) as f64;
    svg.text(area.left - 6.0, area.top + 10.0, Anchor::End, &grouped(u64::from(most)));
    svg.text(area.left - 6.0, area.bottom, Anchor::End, "0");
    svg.caption_left(area, "swaps");
    svg.faint_text(
        area.right,
        area.bottom + 33.0,
        Anchor::End,
        &format!("swaps per {part_ms:.1} ms of the run"),
    );
    svg.ticks_below(area, 0.0, picture.rotation.sound.seconds());
    svg.caption_below(area, "time (s)");
}
