//! One run as a picture: a self-contained HTML page with a lane for each node over virtual time.

use std::fmt::{self, Write};

use super::outcome::{Line, LineKind, LockstepOutcome};
use super::schedule::{ScheduledFault, Strike};

const LEFT_PX: u64 = 90;
const WIDTH_PX: u64 = 1_400;
const FAULT_PX: u64 = 18;
const LANE_PX: u64 = 46;
const AXIS_PX: u64 = 24;
/// The longest story that the page shows in full.
const LINES_MAX: usize = 20_000;

const STYLE: &str = "
body { font: 14px/1.4 system-ui, sans-serif; color: #1c2430; background: #fff; margin: 24px; }
h1 { font-size: 20px; margin: 0 0 4px; }
.facts { color: #586374; margin: 0 0 16px; max-width: 110ch; }
.good { color: #17693b; } .bad { color: #b3141d; font-weight: 600; }
.picture { overflow-x: auto; border: 1px solid #d8dee6; border-radius: 6px; }
svg { display: block; } svg text { font: 12px system-ui, sans-serif; fill: #1c2430; }
.lane { fill: #f5f7fa; } .grid { stroke: #dfe4ea; } .heal { stroke: #17693b; stroke-dasharray: 5 4; }
.network { fill: #e0a43a; } .frozen { fill: #7ca6d8; } .dead { fill: #59616d; }
.clock { fill: #a98bd0; } .storage { fill: #cf8f6d; }
.Fault { stroke: #8a6d1d; } .Network { stroke: #c07c10; } .Store { stroke: #b0623c; }
.Node { stroke: #3d6ea8; } .Client { stroke: #2f7d57; }
.Violation { stroke: #d0111b; stroke-width: 3; } .broken { stroke: #d0111b; opacity: .35; }
.event { stroke-width: 1.5; opacity: .75; } .event:hover { stroke-width: 5; opacity: 1; }
pre { font: 12px/1.45 ui-monospace, monospace; overflow-x: auto; }
pre b { color: #b3141d; } summary { cursor: pointer; margin-top: 16px; }
";

/// Draws a run.
pub fn html(outcome: &LockstepOutcome) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, outcome);
    page
}

/// Where things stand on the page.
struct Layout<'a> {
    outcome: &'a LockstepOutcome,
    lanes: Vec<String>,
    end_ms: u64,
}

impl Layout<'_> {
    fn x(&self, at_ms: u64) -> u64 {
        LEFT_PX + at_ms.min(self.end_ms) * WIDTH_PX / self.end_ms.max(1)
    }

    fn faults_px(&self) -> u64 {
        AXIS_PX + self.outcome.faults.len() as u64 * FAULT_PX
    }

    fn lane_y(&self, lane: usize) -> u64 {
        self.faults_px() + 8 + lane as u64 * LANE_PX
    }

    fn height(&self) -> u64 {
        self.lane_y(self.lanes.len()) + 8
    }

    fn lane_of(&self, line: &Line) -> Option<usize> {
        self.lanes.iter().position(|lane| *lane == line.who)
    }
}

fn write_page(page: &mut String, outcome: &LockstepOutcome) -> fmt::Result {
    let nodes = (1..=outcome.nodes).map(|number| format!("n{number}"));
    let lanes = nodes.chain(["net", "store", "client"].map(str::to_owned)).collect();
    let last_ms = outcome.trace.last().map_or(0, |line| line.at_ms);
    let layout = Layout { outcome, lanes, end_ms: outcome.duration_ms.max(last_ms) };
    let name = Escaped(&outcome.scenario);
    writeln!(page, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<title>{name}, seed {}</title>\n<style>{STYLE}</style>", outcome.seed)?;
    writeln!(page, "<h1>{name}, seed {}</h1>", outcome.seed)?;
    writeln!(page, "<p class=\"facts\">{}</p>", Escaped(&outcome.options))?;
    write_verdict(page, outcome)?;
    let (width, height) = (LEFT_PX + WIDTH_PX + 20, layout.height());
    writeln!(page, "<div class=\"picture\"><svg width=\"{width}\" height=\"{height}\">")?;
    write_axis(page, &layout)?;
    for (row, fault) in outcome.faults.iter().enumerate() {
        write_fault(page, &layout, row, fault)?;
    }
    for line in &outcome.trace {
        write_event(page, &layout, line)?;
    }
    writeln!(page, "</svg></div>")?;
    write_counts(page, outcome)?;
    write_story(page, outcome)?;
    writeln!(page, "</html>")
}

fn write_verdict(page: &mut String, outcome: &LockstepOutcome) -> fmt::Result {
    if outcome.violations.is_empty() {
        return writeln!(page, "<p class=\"good\">Every invariant held.</p>");
    }
    for violation in &outcome.violations {
        writeln!(page, "<p class=\"bad\">{}</p>", Escaped(violation))?;
    }
    Ok(())
}

fn write_axis(page: &mut String, layout: &Layout<'_>) -> fmt::Result {
    for (lane, name) in layout.lanes.iter().enumerate() {
        let (y, height) = (layout.lane_y(lane), LANE_PX - 6);
        writeln!(
            page,
            "<rect class=\"lane\" x=\"{LEFT_PX}\" y=\"{y}\" width=\"{WIDTH_PX}\" \
             height=\"{height}\"/><text x=\"12\" y=\"{}\">{}</text>",
            y + 24,
            Escaped(name)
        )?;
    }
    let bottom = layout.height();
    let step_ms = (layout.end_ms / 15).max(1_000).next_multiple_of(1_000);
    for at_ms in (0..=layout.end_ms).step_by(step_ms as usize) {
        let x = layout.x(at_ms);
        writeln!(
            page,
            "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"{AXIS_PX}\" y2=\"{bottom}\"/>\
             <text x=\"{}\" y=\"16\">{} s</text>",
            x + 3,
            at_ms / 1_000
        )?;
    }
    let x = layout.x(layout.outcome.heal_ms);
    writeln!(
        page,
        "<line class=\"heal\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{bottom}\">\
         <title>from here on no fault strikes</title></line>"
    )
}

/// A bar of its own for each fault, and one in the lane of each node that stands or is dead.
fn write_fault(
    page: &mut String,
    layout: &Layout<'_>,
    row: usize,
    fault: &ScheduledFault,
) -> fmt::Result {
    let class = match fault.strike {
        Strike::Partition { .. } | Strike::Isolate { .. } | Strike::OneWay { .. } => "network",
        Strike::Freeze { .. } => "frozen",
        Strike::Kill { .. } => "dead",
        Strike::Skew { .. } => "clock",
        _ => "storage",
    };
    let (x, end) = (layout.x(fault.from_ms), layout.x(fault.until_ms));
    let width = (end - x).max(2);
    let title = format!("{}: {fault}", fault.id);
    let y = AXIS_PX + row as u64 * FAULT_PX;
    let name = fault.strike.to_string();
    writeln!(
        page,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{}\" rx=\"3\">\
         <title>{}</title></rect>",
        y + 2,
        FAULT_PX - 4,
        Escaped(&title)
    )?;
    let is_right = end > LEFT_PX + WIDTH_PX * 2 / 3;
    let (text_x, anchor) = if is_right { (x - 6, "end") } else { (end + 6, "start") };
    if width < WIDTH_PX / 2 {
        let text = Escaped(&name);
        let text_y = y + FAULT_PX - 5;
        writeln!(
            page,
            "<text x=\"{text_x}\" y=\"{text_y}\" text-anchor=\"{anchor}\">{text}</text>"
        )?;
    } else {
        writeln!(
            page,
            "<text x=\"{}\" y=\"{}\">{}</text>",
            x + 6,
            y + FAULT_PX - 5,
            Escaped(&name)
        )?;
    }
    if !matches!(class, "frozen" | "dead") {
        return Ok(());
    }
    for node in fault.nodes() {
        writeln!(
            page,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{}\">\
             <title>{}</title></rect>",
            layout.lane_y(node),
            LANE_PX - 6,
            Escaped(&title)
        )?;
    }
    Ok(())
}

fn write_event(page: &mut String, layout: &Layout<'_>, line: &Line) -> fmt::Result {
    let x = layout.x(line.at_ms);
    if line.kind == LineKind::Violation {
        let bottom = layout.height();
        writeln!(
            page,
            "<line class=\"broken\" x1=\"{x}\" x2=\"{x}\" y1=\"{AXIS_PX}\" y2=\"{bottom}\"/>"
        )?;
    }
    let Some(lane) = layout.lane_of(line) else { return Ok(()) };
    let (top, bottom) = (layout.lane_y(lane) + 4, layout.lane_y(lane) + LANE_PX - 10);
    writeln!(
        page,
        "<line class=\"event {:?}\" x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{bottom}\">\
         <title>{} ms  {}</title></line>",
        line.kind,
        line.at_ms,
        Escaped(&line.text)
    )
}

fn write_counts(page: &mut String, outcome: &LockstepOutcome) -> fmt::Result {
    let counts: Vec<String> =
        outcome.counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    writeln!(page, "<p class=\"facts\">{}</p>", Escaped(&counts.join("; ")))
}

fn write_story(page: &mut String, outcome: &LockstepOutcome) -> fmt::Result {
    let (all, shown) = (outcome.trace.len(), outcome.trace.len().min(LINES_MAX));
    writeln!(page, "<details><summary>The story, {shown} of {all} lines</summary><pre>")?;
    for line in outcome.trace.iter().take(LINES_MAX) {
        let text = line.to_string();
        match line.kind {
            LineKind::Violation => writeln!(page, "<b>{}</b>", Escaped(&text))?,
            _ => writeln!(page, "{}", Escaped(&text))?,
        }
    }
    writeln!(page, "</pre></details>")
}

/// Text that must not become markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '&' => out.write_str("&amp;")?,
                '"' => out.write_str("&quot;")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}
