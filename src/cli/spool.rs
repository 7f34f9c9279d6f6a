//! `lakegate spool …`: the contents of the spool, the damaged files that were set aside, and how to salvage them.
//!
//! Read commands are safe beside a running gateway. Commands that change the spool need a stopped gateway.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    configuration::{PlaceArgs, open_offline},
    output_format::Format,
};
use crate::{
    app::{is_running, location_of},
    config::{Config, Sink, SinkSettings},
    event::Record,
    json::Visible,
    sink::lake::{Filters, Lake, LakeError},
    spool::{Cursor, Inspection, RealDisk, SALVAGED_NAME, SegmentFile, inspect, remove_quarantined, salvageable},
};

#[derive(Debug, Subcommand)]
pub(super) enum SpoolCommand {
    /// Show the segments, how far they are delivered, and losses. Safe beside a running gateway.
    Inspect {
        #[command(flatten)]
        place: SpoolArgs,
        /// Read every frame and check its checksum.
        #[arg(long)]
        verify: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// List, salvage and remove damaged files that were set aside.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    /// List the damaged files and the events that were lost. Safe beside a running gateway.
    List {
        #[command(flatten)]
        place: SpoolArgs,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Put lost events that can still be read into the spool again. Stop the gateway first.
    ///
    /// The next start delivers them. The command can be repeated: no event is taken twice.
    Salvage {
        #[command(flatten)]
        place: SpoolArgs,
        /// Say what would be salvaged, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Delete files from the quarantine. The gateway's warning ends when it is empty.
    Remove {
        #[command(flatten)]
        place: SpoolArgs,
        /// Names of files, as `list` shows them.
        names: Vec<String>,
        /// Remove everything, the list of losses too.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct SpoolArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The spool of the dead letters, if they are sent to a stream.
    #[arg(long)]
    dead_letters: bool,
}

#[derive(Debug, Args)]
pub(super) struct FormatArgs {
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// An older spelling of `--format json`.
    #[arg(long, hide = true)]
    json: bool,
}

impl FormatArgs {
    fn is_json(&self) -> bool {
        self.json || self.format == Format::Json
    }
}

impl SpoolArgs {
    fn config(&self) -> anyhow::Result<Config> {
        self.place.config()
    }

    fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = if self.dead_letters { "dead-letter-spool" } else { "spool" };
        Ok(self.config()?.data_dir.join(folder))
    }

    fn inspect(&self, verify: bool) -> anyhow::Result<(PathBuf, Inspection)> {
        let folder = self.folder()?;
        let found = inspect(&RealDisk, &folder, verify).with_context(|| format!("{}: no spool", folder.display()))?;
        Ok((folder, found))
    }
}

/// Runs the command. The exit code is 1 if anything is damaged or lost.
pub(super) fn run(command: &SpoolCommand) -> anyhow::Result<ExitCode> {
    let out = &mut Visible::new(BufWriter::new(io::stdout().lock()));
    let result = match command {
        SpoolCommand::Inspect { place, verify, format } => show(place, *verify, format.is_json(), out),
        SpoolCommand::Quarantine(QuarantineCommand::List { place, format }) => list(place, format.is_json(), out),
        SpoolCommand::Quarantine(QuarantineCommand::Salvage { place, dry_run, format }) => {
            salvage(place, *dry_run, format.is_json(), out)
        }
        SpoolCommand::Quarantine(QuarantineCommand::Remove { place, names, all }) => remove(place, names, *all, out),
    };
    let clean = result.and_then(|clean| Ok(out.flush().map(|()| clean)?))?;
    Ok(ExitCode::from(u8::from(!clean)))
}

fn lost_events(found: &Inspection) -> u64 {
    found.losses.iter().map(|loss| loss.end_seq_exclusive - loss.first_seq).sum()
}

fn show(place: &SpoolArgs, verify: bool, as_json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let (folder, found) = place.inspect(verify)?;
    let delivered = found.cursor.map(|cursor| cursor.delivered_exclusive);
    let newest = found.segments.last().map(|segment| segment.name.clone());
    // Bytes after the last frame of the newest segment may be an unfinished write.
    let is_damaged = |file: &SegmentFile| {
        let content = file.content.clone().unwrap_or_default();
        content.lost_frames + content.unreadable_blocks > 0 || content.damaged_bytes > 0 && Some(&file.name) != newest.as_ref()
    };
    let is_clean = !found.segments.iter().any(is_damaged) && found.quarantine.is_empty() && found.losses.is_empty();
    if as_json {
        let segments: Vec<_> = found.segments.iter().map(file_json).collect();
        let position = |cursor: &Cursor| json!({"delivered_exclusive": cursor.delivered_exclusive, "planned_end_exclusive": cursor.planned_end_exclusive});
        let cursor = found.cursor.as_ref().map(position);
        let sinks: Map<String, Value> = found.sinks.iter().map(|(name, cursor)| (name.clone(), position(cursor))).collect();
        let quarantine: Vec<_> = found.quarantine.iter().map(file_json).collect();
        let whole = json!({
            "spool_id": found.spool_id, "cursor": cursor, "sinks": sinks, "segments": segments, "quarantine": quarantine,
            "losses": found.losses, "clean": is_clean
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?;
        return Ok(is_clean);
    }
    let unknown = || "unreadable".to_owned();
    writeln!(out, "folder       {}", folder.display())?;
    writeln!(out, "spool id     {}", found.spool_id.map_or_else(unknown, |id| id.to_string()))?;
    writeln!(out, "delivered to {}", delivered.map_or_else(|| "nothing yet, or unreadable".to_owned(), |seq| seq.to_string()))?;
    for (sink, cursor) in &found.sinks {
        writeln!(out, "             {} by {sink}", cursor.delivered_exclusive)?;
    }
    writeln!(out, "quarantine   {} files, {} events lost", found.quarantine.len(), lost_events(&found))?;
    table(&found.segments, out)?;
    Ok(is_clean)
}

fn table(files: &[SegmentFile], out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<28} {:>14} {:>12} {:>12} {:>12} {:>12}",
        "file", "bytes", "frames", "bad bytes", "lost frames", "bad blocks"
    )?;
    for file in files {
        let number = |of: fn(&crate::spool::SegmentContent) -> u64| {
            file.content.as_ref().map_or("-".into(), |content| of(content).to_string())
        };
        writeln!(
            out,
            "{:<28} {:>14} {:>12} {:>12} {:>12} {:>12}",
            file.name,
            file.bytes,
            number(|content| content.frames),
            number(|content| content.damaged_bytes),
            number(|content| content.lost_frames),
            number(|content| content.unreadable_blocks),
        )?;
    }
    Ok(())
}

fn file_json(file: &SegmentFile) -> Value {
    let content = file.content.as_ref().map(|content| {
        json!({
            "frames": content.frames, "end_seq_exclusive": content.end_seq_exclusive, "damaged_bytes": content.damaged_bytes,
            "lost_frames": content.lost_frames, "unreadable_blocks": content.unreadable_blocks
        })
    });
    json!({
        "name": file.name, "bytes": file.bytes, "spool_id": file.spool_id, "first_seq": file.first_seq, "content": content
    })
}

fn list(place: &SpoolArgs, as_json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let (_, found) = place.inspect(false)?;
    let is_empty = found.quarantine.is_empty() && found.losses.is_empty();
    if as_json {
        let files: Vec<_> = found.quarantine.iter().map(file_json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&json!({"files": files, "losses": found.losses}))?)?;
        return Ok(is_empty);
    }
    table(&found.quarantine, out)?;
    for loss in &found.losses {
        let (first, last) = (loss.first_seq, loss.end_seq_exclusive.saturating_sub(1));
        writeln!(out, "lost at {}: events {first} to {last} of {} ({})", loss.at, loss.segment, loss.reason)?;
        for event in &loss.probable_events {
            writeln!(out, "    {} is probably {}", event.seq, event.event_uuid)?;
        }
    }
    Ok(is_empty)
}

/// Removes records that the lake has: an interrupted attempt may have delivered records that its repetition could not read, and
/// a client that was told of the loss may have sent the event again. A stream cannot be queried; of several sinks some may have a
/// record and others not, and all get it again.
fn not_in_lake(config: &Config, lost: Vec<Record>) -> anyhow::Result<Vec<Record>> {
    let sinks = config.all_sinks().unwrap_or_default();
    let ([Sink { settings: SinkSettings::Lake(lake), .. }], false) = (&*sinks, lost.is_empty()) else { return Ok(lost) };
    let lake = match Lake::open_with(&location_of(lake, config)) {
        Err(LakeError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => return Ok(lost),
        opened => opened?,
    };
    let mut missing = Vec::new();
    for record in lost {
        let envelope = record.envelope();
        // If the day is that of the receipt, the event may be in the lake under another day.
        let day = Some(envelope.created_date()).filter(|_| !envelope.is_late);
        let event_name = Some(envelope.event_name.as_str().to_owned());
        let filters = Filters { event_name, from_inclusive: day, to_inclusive: day, ..Filters::default() };
        let mut is_there = false;
        let left_out = lake.find(envelope.event_uuid, &filters, &mut |_, row| {
            is_there |= row.dedup_scope == envelope.dedup_scope();
            Ok(())
        })?;
        if let Some(file) = left_out.first().filter(|_| !is_there) {
            bail!("whether the lake has the event {} cannot be told: {}: {}", envelope.event_uuid, file.file, file.reason);
        }
        if !is_there {
            missing.push(record);
        }
    }
    Ok(missing)
}

fn salvage(place: &SpoolArgs, dry_run: bool, as_json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let config = place.config()?;
    if place.dead_letters {
        bail!("dead letters are salvaged from their files: see `lakegate dead-letters replay --from`");
    }
    if !dry_run && is_running(&config.data_dir)? {
        bail!("a gateway runs on {}; stop it first", config.data_dir.display());
    }
    let (folder, found) = place.inspect(false)?;
    let salvaged_file = folder.join("quarantine").join(SALVAGED_NAME);
    let text = fs::read_to_string(&salvaged_file).unwrap_or_default();
    let mut salvaged: HashSet<Uuid> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let (mut lost, mut foreign) = (Vec::new(), Vec::new());
    for file in &found.quarantine {
        let Ok(frames) = salvageable(&RealDisk, &folder, &found, file) else { continue };
        let records = |frames: Vec<crate::spool::Frame>| frames.into_iter().filter_map(|frame| Record::decode(frame.body).ok());
        lost.extend(records(frames.lost).filter(|record| salvaged.insert(record.event_uuid())));
        foreign.extend(records(frames.foreign));
    }
    let noted: Vec<_> = lost.iter().map(Record::event_uuid).collect();
    let lost = not_in_lake(&config, lost)?;
    let in_lake = noted.len() - lost.len();
    let (counted_lost, counted_foreign) = (lost.len(), foreign.len());
    let mut taken = (0, 0);
    if !dry_run && noted.len() + counted_foreign > 0 {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
        taken = runtime.block_on(async {
            let offline = open_offline(&config).await?;
            let taken = offline.salvage(lost, foreign).await;
            offline.close().await;
            let taken = taken?;
            note_salvaged(&salvaged_file, &noted)?;
            anyhow::Ok(taken)
        })?;
    }
    let (taken_lost, taken_foreign) = taken;
    let known = counted_foreign as u64 - if dry_run { 0 } else { taken_foreign };
    if as_json {
        let whole = json!({
            "dry_run": dry_run, "readable": counted_lost + counted_foreign, "salvaged": taken_lost + taken_foreign,
            "already_known": if dry_run { 0 } else { known }, "already_delivered": in_lake
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?;
    } else if dry_run {
        writeln!(out, "{} events can be read and were not delivered from here", counted_lost + counted_foreign)?;
    } else {
        writeln!(out, "{} events are in the spool again; the next start delivers them", taken_lost + taken_foreign)?;
        writeln!(out, "{known} were known to the dedup window and are not taken twice")?;
    }
    if in_lake > 0 && !as_json {
        writeln!(out, "{in_lake} are in the lake already: they were delivered before they could not be read")?;
    }
    Ok(true)
}

fn note_salvaged(file: &Path, uuids: &[Uuid]) -> anyhow::Result<()> {
    let mut list = OpenOptions::new().append(true).create(true).open(file)?;
    let text: String = uuids.iter().map(|uuid| format!("{uuid}\n")).collect();
    list.write_all(text.as_bytes())?;
    list.sync_all().context("the list of what was salvaged cannot be written")
}

fn remove(place: &SpoolArgs, names: &[String], all: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    if names.is_empty() != all {
        bail!("name the files to remove, or give --all");
    }
    let folder = place.folder()?;
    let removed = remove_quarantined(&RealDisk, &folder, (!all).then_some(names))?;
    writeln!(out, "{removed} files removed")?;
    Ok(all || removed == names.len() as u64)
}
