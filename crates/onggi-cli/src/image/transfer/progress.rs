//! A line per layer: moving on a terminal, one per change elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use onggi_image::{Event, Phase, Progress};
use onggi_oci::Digest;

use crate::context::tell;

/// How much of a digest a line begins with.
const SHORT: usize = 12;

/// The lines of a pull or a push, on standard error.
pub(super) struct Lines {
    kind: Kind,
    state: Mutex<State>,
}

enum Kind {
    Quiet,
    Plain,
    Moving(MultiProgress),
}

#[derive(Default)]
struct State {
    bars: HashMap<Digest, ProgressBar>,
    /// What was said last of each, to say only what is new.
    said: HashMap<Digest, &'static str>,
}

impl Lines {
    pub(super) fn new(quiet: bool) -> Self {
        let kind = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Kind::Quiet,
            (false, true) => Kind::Moving(MultiProgress::new()),
            (false, false) => Kind::Plain,
        };
        Self { kind, state: Mutex::default() }
    }

    /// Leaves the lines as they are.
    pub(super) fn finish(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bars.values().for_each(ProgressBar::abandon);
    }

    fn blob(&self, digest: &Digest, phase: Phase) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.kind {
            Kind::Quiet => {}
            Kind::Plain => {
                let word = word(phase);
                if state.said.insert(digest.clone(), word) != Some(word) {
                    tell(&format!("{}: {word}", short(digest)));
                }
            }
            Kind::Moving(all) => {
                let bar = state.bars.entry(digest.clone()).or_insert_with(|| line(all, digest));
                show(bar, phase);
            }
        }
    }
}

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Resolving { image } => match &self.kind {
                Kind::Quiet => {}
                Kind::Plain => tell(&format!("{}: Resolving", image.familiar())),
                Kind::Moving(all) => drop(all.println(format!("{}: Resolving", image.familiar()))),
            },
            Event::Planned { blobs, .. } => {
                if let Kind::Moving(_) = self.kind {
                    blobs.iter().for_each(|blob| self.blob(&blob.digest, Phase::Waiting));
                }
            }
            Event::Blob { digest, phase } => self.blob(digest, phase),
        }
    }
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(SHORT).collect()
}

fn line(all: &MultiProgress, digest: &Digest) -> ProgressBar {
    let bar = all.add(ProgressBar::no_length());
    bar.set_prefix(short(digest));
    bar
}

fn show(bar: &ProgressBar, phase: Phase) {
    match phase {
        Phase::Downloading { done, total } | Phase::Uploading { done, total } => {
            style(bar, "{prefix}: {msg} {bar:30} {bytes}/{total_bytes}");
            bar.set_length(total);
            bar.set_position(done);
        }
        _ => style(bar, "{prefix}: {msg}"),
    }
    bar.set_message(word(phase));
    if matches!(phase, Phase::Pulled | Phase::Present | Phase::Pushed | Phase::Known | Phase::Mounted) {
        bar.abandon();
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// Docker's words.
fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "Waiting",
        Phase::Downloading { .. } => "Downloading",
        Phase::Unpacking => "Extracting",
        Phase::Pulled => "Pull complete",
        Phase::Present => "Already exists",
        Phase::Retrying => "Retrying",
        Phase::Uploading { .. } => "Pushing",
        Phase::Pushed => "Pushed",
        Phase::Known => "Layer already exists",
        Phase::Mounted => "Mounted from another repository",
    }
}
