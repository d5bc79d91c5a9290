//! `save`, `load` and `import`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use onggi_image::{ArchiveFormat, ImportOptions};

use super::{platform, reference};
use crate::args::{Import, Load, Save};
use crate::context::{Context, print};
use crate::error::{Error, Result};

pub(crate) fn save(context: &Context, args: &Save) -> Result<ExitCode> {
    let images = context.engine.images()?;
    match &args.output {
        None if std::io::stdout().is_terminal() => {
            return Err(Error::usage(
                "an archive is not for a terminal: use --output FILE or redirect standard output",
            ));
        }
        None => images.save(&args.images, ArchiveFormat::Docker, None, BufWriter::new(std::io::stdout().lock()))?,
        Some(path) => write_whole(path, |file| {
            images.save(&args.images, ArchiveFormat::Docker, None, BufWriter::new(file)).map_err(Error::from)
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file beside its place and moves it there when it is whole. What is no regular file is written as it is.
fn write_whole(path: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let failed = || Error::io(format!("write {}", path.display()));
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return write(&File::options().write(true).open(path).map_err(failed())?);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".tmp-{}", std::process::id()));
    let file = File::create(&beside).map_err(failed())?;
    let written = write(&file).and_then(|()| std::fs::rename(&beside, path).map_err(failed()));
    if written.is_err() {
        // The failure is told; that half a file could not be removed beside it is not worth a second one.
        drop(std::fs::remove_file(&beside));
    }
    written
}

pub(crate) fn load(context: &Context, args: &Load) -> Result<ExitCode> {
    if args.input.is_none() && std::io::stdin().is_terminal() {
        return Err(Error::usage("requested to load from a terminal: use --input FILE or redirect standard input"));
    }
    context.tell_of_ids();
    let loaded = context.engine.images()?.load(input(args.input.as_deref())?)?;
    if args.quiet {
        return Ok(ExitCode::SUCCESS);
    }
    for image in &loaded {
        match image.names.as_slice() {
            [] => print(&format!("Loaded image ID: {}\n", image.id))?,
            names => {
                print(&names.iter().map(|name| format!("Loaded image: {}\n", name.familiar())).collect::<String>())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The file, or standard input where there is none or it is `-`.
fn input(path: Option<&Path>) -> Result<Box<dyn Read>> {
    match path {
        None => Ok(Box::new(std::io::stdin().lock())),
        Some(path) if path == Path::new("-") => Ok(Box::new(std::io::stdin().lock())),
        Some(path) => Ok(Box::new(File::open(path).map_err(Error::io(format!("read {}", path.display())))?)),
    }
}

pub(crate) fn import(context: &Context, args: &Import) -> Result<ExitCode> {
    context.tell_of_ids();
    let options = ImportOptions {
        name: args.name.as_deref().map(reference).transpose()?,
        changes: args.change.clone(),
        message: args.message.clone(),
        platform: platform(args.platform.as_deref())?,
        source: args.source.display().to_string(),
    };
    let id = context.engine.images()?.import(input(Some(&args.source))?, &options)?;
    print(&format!("{id}\n"))?;
    std::io::stdout().flush().map_err(Error::io("write to standard output"))?;
    Ok(ExitCode::SUCCESS)
}
