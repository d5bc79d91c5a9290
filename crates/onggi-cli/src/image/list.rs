//! `images` and `history`.

use std::process::ExitCode;

use jiff::Timestamp;
use onggi_image::{HistoryEntry, Row, Summary};
use onggi_oci::Digest;
use serde_json::{Value, json};

use crate::args::{History, Images};
use crate::context::{Context, print};
use crate::error::{Error, Result};
use crate::output::{Format, Listing, age, size};

/// How much of an ID a table shows.
const SHORT_ID: usize = 12;

/// How much of a step's command a table shows.
const CREATED_BY_WIDTH: usize = 45;

pub(crate) fn images(context: &Context, args: &Images) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let wanted = Wanted::read(args)?;
    let summaries = context.engine.images()?.list()?;
    let chosen: Vec<(&Summary, Row)> = summaries
        .iter()
        .flat_map(|summary| summary.rows().into_iter().map(move |row| (summary, row)))
        .filter(|(summary, row)| wanted.fits(summary, row))
        .collect();
    if args.quiet {
        let mut ids: Vec<String> = chosen.iter().map(|(summary, _)| id(&summary.id, args.no_trunc) + "\n").collect();
        ids.dedup();
        print(&ids.concat())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let columns: &[_] = if args.digests {
        &[
            ("REPOSITORY", "Repository"),
            ("TAG", "Tag"),
            ("DIGEST", "Digest"),
            ("IMAGE ID", "ID"),
            ("CREATED", "CreatedSince"),
            ("SIZE", "Size"),
        ]
    } else {
        &[
            ("REPOSITORY", "Repository"),
            ("TAG", "Tag"),
            ("IMAGE ID", "ID"),
            ("CREATED", "CreatedSince"),
            ("SIZE", "Size"),
        ]
    };
    let rows = chosen.iter().map(|(summary, row)| image_row(summary, row, args.no_trunc, now)).collect();
    print(&Listing { columns, rows }.render(&format)?)?;
    Ok(ExitCode::SUCCESS)
}

fn image_row(summary: &Summary, row: &Row, whole: bool, now: Timestamp) -> Value {
    let none = || "<none>".to_owned();
    json!({
        "Repository": row.repository.clone().unwrap_or_else(none),
        "Tag": row.tag.clone().unwrap_or_else(none),
        "Digest": row.digest.to_string(),
        "ID": id(&summary.id, whole),
        "CreatedAt": summary.created.map_or_else(|| "N/A".to_owned(), |time| time.to_string()),
        "CreatedSince": since(summary.created, now),
        "Size": size(summary.size),
        "Platform": summary.platform.as_ref().map_or_else(String::new, ToString::to_string),
    })
}

fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "N/A".to_owned(), |then| age(then, now) + " ago")
}

fn id(digest: &Digest, whole: bool) -> String {
    if whole { digest.to_string() } else { digest.hex().chars().take(SHORT_ID).collect() }
}

/// Which images are listed.
struct Wanted {
    repository: Option<String>,
    tag: Option<String>,
    dangling: Option<bool>,
    labels: Vec<(String, Option<String>)>,
    references: Vec<String>,
}

impl Wanted {
    fn read(args: &Images) -> Result<Self> {
        let mut wanted =
            Self { repository: None, tag: None, dangling: None, labels: Vec::new(), references: Vec::new() };
        if let Some(name) = &args.name {
            let reference = super::reference(name)?;
            wanted.repository = Some(reference.familiar_name());
            // The reference knows the default tag; only a tag that was written restricts.
            wanted.tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag.to_owned());
        }
        for filter in &args.filter {
            match filter.split_once('=') {
                Some(("dangling", "true" | "1")) => wanted.dangling = Some(true),
                Some(("dangling", "false" | "0")) => wanted.dangling = Some(false),
                Some(("label", label)) => {
                    let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
                    wanted.labels.push((key.to_owned(), value.map(str::to_owned)));
                }
                Some(("reference", pattern)) => wanted.references.push(pattern.to_owned()),
                _ => {
                    return Err(Error::usage(format!(
                        "the filter `{filter}` means nothing; images knows dangling=true|false, label=KEY[=VALUE] and reference=PATTERN"
                    )));
                }
            }
        }
        Ok(wanted)
    }

    fn fits(&self, summary: &Summary, row: &Row) -> bool {
        let same = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        same(&self.repository, &row.repository)
            && same(&self.tag, &row.tag)
            && self.dangling.is_none_or(|dangling| dangling == row.tag.is_none())
            && self.labels.iter().all(|(key, value)| {
                summary.labels.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
            })
            && (self.references.is_empty() || self.references.iter().any(|pattern| names(pattern, row)))
    }
}

/// Whether a pattern with `*` and `?`, which do not match `/`, means the name or the name with its tag.
fn names(pattern: &str, row: &Row) -> bool {
    let Some(repository) = &row.repository else { return false };
    let whole = row.tag.as_ref().map(|tag| format!("{repository}:{tag}"));
    matches(pattern.as_bytes(), repository.as_bytes())
        || whole.is_some_and(|whole| matches(pattern.as_bytes(), whole.as_bytes()))
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, text)
                || text.split_first().is_some_and(|(first, after)| *first != b'/' && matches(pattern, after))
        }
        (Some((b'?', rest)), Some((first, after))) => *first != b'/' && matches(rest, after),
        (Some((wanted, rest)), Some((first, after))) => wanted == first && matches(rest, after),
        _ => false,
    }
}

pub(crate) fn history(context: &Context, args: &History) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let steps = context.engine.images()?.history(&args.image)?;
    if args.quiet {
        print(&steps.iter().map(|step| step_id(step, args.no_trunc) + "\n").collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let listing = Listing {
        columns: &[
            ("IMAGE", "ID"),
            ("CREATED", "CreatedSince"),
            ("CREATED BY", "CreatedBy"),
            ("SIZE", "Size"),
            ("COMMENT", "Comment"),
        ],
        rows: steps.iter().map(|step| step_row(step, args.no_trunc, now)).collect(),
    };
    print(&listing.render(&format)?)?;
    Ok(ExitCode::SUCCESS)
}

fn step_id(step: &HistoryEntry, whole: bool) -> String {
    step.id.as_ref().map_or_else(|| "<missing>".to_owned(), |digest| id(digest, whole))
}

fn step_row(step: &HistoryEntry, whole: bool, now: Timestamp) -> Value {
    let by = step.created_by.replace(['\n', '\t'], " ");
    let by = match by.chars().count() > CREATED_BY_WIDTH && !whole {
        true => by.chars().take(CREATED_BY_WIDTH - 1).chain(['…']).collect(),
        false => by,
    };
    json!({
        "ID": step_id(step, whole),
        "CreatedAt": step.created.map_or_else(|| "N/A".to_owned(), |time| time.to_string()),
        "CreatedSince": since(step.created, now),
        "CreatedBy": by,
        "Size": size(step.size),
        "Comment": step.comment,
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("alp*", "alpine", true),
            ("alp*:3.?", "alpine:3.9", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("alpine", "alpine:latest", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
