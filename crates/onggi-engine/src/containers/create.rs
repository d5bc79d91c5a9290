//! Making a container.

use onggi_fs::Root;
use onggi_image::{Image, Images};
use onggi_oci::image::Config;

use super::layout::{self, Locked};
use super::names::Names;
use super::{Containers, remove};
use crate::error::Context;
use crate::host::Host;
use crate::record::{self, MountPoint, Record};
use crate::{
    ContainerId, CreateContainer, Created, Error, Name, NetworkMode, Paths, RequestError, Result, Volume, VolumeSource,
    config, defaults, images, signal, snapshots, spec, volumes,
};

impl Containers<'_> {
    /// Makes a container, which then waits for [`Containers::start`].
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if the image is not in the store: pull it and ask again. Nothing is left behind.
    pub fn create(self, request: &CreateContainer) -> Result<Created> {
        self.sweep();
        let images = self.engine.images()?;
        let image = images::resolve(&images, &request.image)?;
        let id = ContainerId::random().to("choose an id")?;
        let host = Host::probe(self.engine.rootless());
        let mut record = draft(request, &image, &id, self.engine.paths(), &host)?;
        let warnings = warnings(&record, &host);
        let locked = layout::begin(&self.engine.containers, &id).to("make the container's directory")?;
        let wanted = layout::want(&locked.dir).to("lock the container's directory")?;
        let made = self.fill(&locked, request, &mut record, (&images, &image));
        match made.and_then(|()| self.publish(&record)) {
            Ok(()) => Ok(Created { id, name: record.name, warnings, _wanted: wanted }),
            Err(error) => {
                // The first failure is what the user must know; what undoing leaves, the next sweep finds.
                drop(remove::undo(self.engine, locked));
                Err(error)
            }
        }
    }

    /// Puts into the directory of `locked` what the container consists of; the record first, so that whoever finds
    /// it abandoned knows what else there may be.
    fn fill(
        self,
        locked: &Locked,
        request: &CreateContainer,
        record: &mut Record,
        (images, image): (&Images, &Image),
    ) -> Result<()> {
        self.name(request.name.as_ref(), record, &locked.dir)?;
        for mount in &record.mounts {
            self.engine.provide(mount)?;
        }
        snapshots::create_writable(images, image, &record.id, record.durability())
    }

    fn publish(self, record: &Record) -> Result<()> {
        let containers = &self.engine.containers;
        layout::publish(containers, &record.id).to("move the container to its place")?;
        if record.auto_remove {
            return Ok(());
        }
        let names = Names::open(containers).to("open the names of containers")?;
        names.sync().and_then(|()| layout::sync_dir(containers)).to("write the container to the disk")
    }

    /// Claims the name asked for, or one that is free; each is in the record in `dir` before it is claimed, so that no
    /// claim is left without somebody who knows of it.
    fn name(self, wanted: Option<&Name>, record: &mut Record, dir: &Root) -> Result<()> {
        let names = Names::open(&self.engine.containers).to("open the names of containers")?;
        let mut attempt = 0;
        loop {
            record.name = match wanted {
                Some(name) => name.clone(),
                None => invented(attempt)?,
            };
            record.save(dir)?;
            match names.claim(&record.name, &record.id).to(format!("claim the name `{}`", record.name))? {
                Ok(()) => return Ok(()),
                Err(owner) if wanted.is_some() && self.is_there(&owner) => {
                    return Err(Error::NameTaken { name: record.name.clone(), owner });
                }
                Err(_) => attempt += 1,
            }
        }
    }
}

impl Containers<'_> {
    /// Whether `id` is still there after a look at it: one with --rm whose monitor was killed goes then.
    fn is_there(self, id: &ContainerId) -> bool {
        !matches!(self.known(id), Err(Error::NoSuchContainer(_))) || self.is_anywhere(id)
    }
}

fn invented(attempt: u32) -> Result<Name> {
    let seed = onggi_sys::random::bytes().to("choose a name")?;
    Ok(defaults::words::name(seed, attempt).parse()?)
}

/// The record of a container of `request`, checked as far as that goes without doing anything.
fn draft(request: &CreateContainer, image: &Image, id: &ContainerId, paths: &Paths, host: &Host) -> Result<Record> {
    check_rights(request, host)?;
    let merged = config::merge(request, &image.configuration.config)?;
    if let Some(text) = &merged.stop_signal {
        signal::parse_signal(text)?;
    }
    let record = Record {
        id: id.clone(),
        // Until one is claimed; the beginning of an id is in the grammar of names.
        name: id.short().parse()?,
        created: onggi_monitor::now(),
        image: record::Image {
            name: request.image.clone(),
            id: image.id.to_string(),
            platform: image.configuration.platform().os,
        },
        mounts: mount_points(request, &merged, paths)?,
        config: merged,
        hostname: request.hostname.clone(),
        terminal: request.terminal,
        open_stdin: request.open_stdin,
        attach: request.attach,
        stop_timeout_secs: request.stop_timeout_secs,
        network: request.network,
        resources: request.resources.clone(),
        security: request.security.clone(),
        auto_remove: request.auto_remove,
        log: request.log,
    };
    // For its errors: what cannot be a specification must not become a container.
    drop(spec::build(&record, &paths.container(id), host)?);
    Ok(record)
}

fn check_rights(request: &CreateContainer, host: &Host) -> Result<()> {
    if host.rootless && request.network == NetworkMode::Bridge {
        return Err(Error::Rootless {
            what: "connect a container to a bridge",
            hint: "`--network host` shares the host's network, `--network none` has none",
        });
    }
    if host.selinux && request.volumes.iter().any(|volume| volume.relabel) {
        return Err(RequestError::Relabel.into());
    }
    Ok(())
}

fn mount_points(request: &CreateContainer, merged: &Config, paths: &Paths) -> Result<Vec<MountPoint>> {
    let volumes = config::volumes(request, merged)?;
    volumes.iter().map(|volume| mount_point(volume, request.volumes.contains(volume), paths)).collect()
}

fn mount_point(volume: &Volume, asked: bool, paths: &Paths) -> Result<MountPoint> {
    let (name, anonymous) = match &volume.source {
        VolumeSource::Host(_) => (None, false),
        VolumeSource::Named(name) => (Some(name.to_string()), false),
        VolumeSource::Anonymous => (Some(ContainerId::random().to("choose a volume's name")?.to_string()), true),
    };
    let source = match (&volume.source, &name) {
        (VolumeSource::Host(path), _) => path.clone(),
        (_, name) => volumes::data_dir(paths, name.as_deref().unwrap_or_default()),
    };
    Ok(MountPoint {
        copy_up: name.is_some() && !volume.no_copy,
        given: if asked && !anonymous { volume.to_string() } else { String::new() },
        volume: name,
        anonymous,
        source,
        destination: volume.destination.clone(),
        read_only: volume.read_only,
        propagation: volume.propagation.as_str().to_owned(),
    })
}

/// What was asked for and cannot be had here.
fn warnings(record: &Record, host: &Host) -> Vec<String> {
    let mut warnings = Vec::new();
    if record.resources.memory.is_some() && !host.swap_limit {
        warnings.push("this kernel does not account swap: the memory limit holds without it".to_owned());
    }
    warnings
}
