//! Draws the page. It fits 80 columns and 24 rows; more room shows more rows.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::{Paragraph, Row, Sparkline, Table as Widget},
};

use super::{
    page::{self, Pairs, Table},
    view::View,
    words::count,
};
use crate::overview::Report;

/// Columns between two columns of a table, and between two tables.
const GAP: u16 = 2;

/// Columns of the words before the history.
const HISTORY_WORDS: u16 = 24;

impl View {
    fn style(&self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.has_colours { style.fg(colour) } else { style }
    }

    /// Of what is wrong: bold, so that it is seen without colours too.
    fn bad(&self) -> Style {
        self.style(Color::Red, Modifier::BOLD)
    }
}

/// Draws the whole page.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let [top, page, bottom] = Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    frame.render_widget(footer(view), bottom);
    let Some(report) = &view.report else {
        frame.render_widget(Line::from(" lakegate top  asking …"), top);
        return;
    };
    frame.render_widget(title(view, report), top);
    let conditions = conditions(view, report, usize::from(page.height / 5).max(1));
    let gateways = page::gateways(report);
    let sinks = page::sinks(report);
    let most = (page.height / 6).max(2);
    let rows_of = |table: &Table| u16::try_from(table.rows.len()).unwrap_or(u16::MAX).saturating_add(1).min(most);
    let heights = [
        conditions.len() as u16,
        2,
        if page.height >= 30 { 4 } else { 2 },
        page::latency(report).rows.len() as u16 + 1,
        gateways.as_ref().map_or(0, rows_of),
        rows_of(&sinks),
    ];
    let [above, rates, history, times, fleet, delivery, rest] =
        Layout::vertical(heights.map(Constraint::Length).into_iter().chain([Constraint::Min(0)]).collect::<Vec<_>>()).areas(page);
    frame.render_widget(Text::from(conditions), above);
    let lines =
        [("events/s", page::events(report)), ("requests/s", page::requests(report))].map(|(name, rates)| line(name, &rates));
    frame.render_widget(Text::from(lines.to_vec()), rates);
    draw_history(frame, view, history);
    let [left, right] = halves(times);
    draw_table(frame, &page::latency(report), left);
    let spool: Vec<Line<'_>> =
        page::spool(report).into_iter().map(|(name, value)| Line::from(format!("{name:<10}{value}"))).collect();
    frame.render_widget(Paragraph::new(spool), right);
    if let Some(gateways) = gateways {
        draw_table(frame, &gateways, fleet);
    }
    draw_table(frame, &sinks, delivery);
    let [left, right] = halves(rest);
    draw_table(frame, &page::keys(report), left);
    let (shards, codes) = (page::shards(report), page::codes(report));
    // Without a stream there are no shards.
    let shards_height = if shards.rows.is_empty() { 0 } else { (shards.rows.len() as u16 + 1).min(right.height / 2) };
    let [upper, lower] = Layout::vertical([Constraint::Length(shards_height), Constraint::Min(0)]).areas(right);
    draw_table(frame, &shards, upper);
    draw_table(frame, &codes, lower);
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(GAP).areas(area)
}

fn title(view: &View, report: &Report) -> Line<'static> {
    let (said, is_bad) = page::title(report);
    let style = if is_bad { view.bad() } else { view.style(Color::Green, Modifier::BOLD) };
    let time = report.time.get(11..19).unwrap_or_default();
    let paused = if view.is_paused { "  PAUSED" } else { "" };
    Line::from(vec![Span::from("lakegate top  "), Span::styled(said, style), Span::from(format!("  {time} UTC{paused}"))])
}

/// The first `most` lines of what is wrong; the last says how many more there are.
fn conditions(view: &View, report: &Report, most: usize) -> Vec<Line<'static>> {
    let mut all = page::conditions(report);
    let hidden = if all.len() > most { all.len() - (most - 1) } else { 0 };
    all.truncate(all.len() - hidden);
    let line = |(text, is_bad): (String, bool)| {
        Line::styled(text, if is_bad { view.bad() } else { view.style(Color::Yellow, Modifier::empty()) })
    };
    let mut lines: Vec<Line<'static>> = all.into_iter().map(line).collect();
    lines.extend((hidden > 0).then(|| Line::from(format!("… and {hidden} more: lakegate health, or --once"))));
    lines
}

fn line(name: &'static str, pairs: &Pairs) -> Line<'static> {
    let mut spans = vec![Span::from(format!("{name:<11}"))];
    for (name, value) in pairs {
        spans.extend([Span::from(format!("{name} ")), Span::styled(value.clone(), Modifier::BOLD), Span::from("  ")]);
    }
    Line::from(spans)
}

fn draw_history(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let [words, bars] = Layout::horizontal([Constraint::Length(HISTORY_WORDS), Constraint::Min(0)]).areas(area);
    let shown: Vec<Option<f64>> = view.history.iter().copied().rev().take(bars.width.into()).collect();
    let most = shown.iter().flatten().copied().reduce(f64::max);
    let said = [format!("received/s, {} polls", shown.len()), format!("at most {}", count(most))];
    frame.render_widget(Text::from(said.map(Line::from).to_vec()), words);
    // In thousandths, because the bars are whole numbers.
    let data = shown.into_iter().rev().map(|rate| rate.map(|rate| (rate * 1000.0) as u64));
    frame.render_widget(Sparkline::default().data(data).style(view.style(Color::Cyan, Modifier::empty())), bars);
}

/// A table whose first column takes the room that is left.
fn draw_table(frame: &mut Frame<'_>, table: &Table, area: Rect) {
    let columns = table.head.len();
    let width = |column: usize| {
        let cells = table.rows.iter().map(|row| &*row[column]).chain([table.head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0) as u16
    };
    let widths = (0..columns).map(|column| if column == 0 { Constraint::Fill(1) } else { Constraint::Length(width(column)) });
    // Names on the left, numbers to the right.
    let align = |column| if column == 0 { Alignment::Left } else { Alignment::Right };
    let row = |cells: Vec<String>| {
        let cells = cells.into_iter().enumerate().map(|(column, cell)| Text::from(cell).alignment(align(column)));
        Row::new(cells.collect::<Vec<_>>())
    };
    let head = row(table.head.iter().map(|word| (*word).to_owned()).collect()).style(Modifier::REVERSED);
    let rows = table.rows.iter().take(area.height.into()).cloned().map(row);
    let widget = Widget::new(rows, widths.collect::<Vec<_>>()).header(head).column_spacing(GAP);
    frame.render_widget(widget, area);
}

fn footer(view: &View) -> Line<'static> {
    let pause = if view.is_paused { "go on" } else { "pause" };
    let (keys, shards) = (view.key_order.words(), view.shard_order.words());
    Line::from(format!("q quit  p {pause}  k keys by {keys}  s shards by {shards}")).style(Modifier::DIM)
}
