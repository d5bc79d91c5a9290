//! From the rights of the caller to those of the user's program, in an order each step of which has its reason.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use onggi_diag::Kind;
use onggi_sys::capability::{self, Sets};
use onggi_sys::file::{self, Mode, OFlags};
use onggi_sys::process::{self, Rlimit};
use onggi_sys::seccomp::Instruction;
use onggi_sys::{Errno, prctl, schedule, seccomp};

use crate::channel::Channel;
use crate::failure::{During, Failure, Outcome};
use crate::plan::ProcessPlan;
use crate::plan::process::{CapabilityPlan, capability_name};
use crate::trusted_proc;

/// A compiled filter.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) program: Vec<Instruction>,
    pub(crate) flags: u32,
}

/// How likely the kernel is to kill this process when memory runs out.
///
/// Before the process stops being dumpable: its `/proc` entries belong to the host's root from then on.
pub(crate) fn set_oom_score(plan: &ProcessPlan, channel: &Channel) -> Outcome<()> {
    let Some(score) = plan.oom_score_adj else { return Ok(()) };
    let stage = || format!("set oom_score_adj to {score}");
    let written = file::open(file::CWD, "/proc/self/oom_score_adj", OFlags::WRONLY, Mode::empty())
        .and_then(|file| file::write_all(&file, score.to_string().as_bytes()));
    match written {
        Err(error) if error.is(Errno::ACCESS) || error.is(Errno::PERM) => {
            let warning = format!(
                "process.oomScoreAdj: {score} is below what this process may choose (no CAP_SYS_RESOURCE); left as it is"
            );
            channel.warn(&warning).during(stage)
        }
        other => other.during(stage),
    }
}

/// Opens what a label is written to, in `proc`, the `/proc` of the runtime's own caller.
pub(crate) fn open_label(plan: &ProcessPlan, proc: &OwnedFd) -> Outcome<Option<(OwnedFd, String)>> {
    let (at, present, path, text) = match (&plan.apparmor, &plan.selinux) {
        (None, None) => return Ok(None),
        (Some(profile), _) => {
            let present = Path::new("/sys/kernel/security/apparmor").exists();
            ("apparmorProfile", present, "self/attr/apparmor/exec", format!("exec {profile}"))
        }
        (None, Some(label)) => {
            ("selinuxLabel", Path::new("/sys/fs/selinux/enforce").exists(), "self/attr/exec", label.clone())
        }
    };
    let stage = || format!("use process.{at}");
    if !present {
        return Err(Failure::new(stage(), Kind::Unsupported, "this kernel does not have it enabled"));
    }
    let handle = trusted_proc::open_in(proc, Path::new(path)).during(stage)?;
    let file = file::reopen(&handle, OFlags::WRONLY).during(stage)?;
    Ok(Some((file, text)))
}

/// Everything between the gate and execve(2).
pub(crate) fn apply(
    plan: &ProcessPlan,
    filter: Option<&Filter>,
    channel: &Channel,
    die_with_parent: bool,
) -> Outcome<()> {
    if let Some((class, level)) = plan.io_priority {
        process::set_io_priority(class, level).during(|| "set process.ioPriority")?;
    }
    if let Some(scheduler) = plan.scheduler {
        schedule::set(scheduler).during(|| "set process.scheduler")?;
    }
    // Limits before the user: raising one takes CAP_SYS_RESOURCE, which the program is not to have.
    set_rlimits(plan, channel)?;
    if plan.no_new_privileges {
        prctl::set_no_new_privileges().during(|| "set process.noNewPrivileges")?;
    } else if let Some(filter) = filter {
        // Without no-new-privileges only CAP_SYS_ADMIN may load a filter: now, while it is here.
        load(filter)?;
    }
    let possible = capability::bounding();
    let capabilities = clamp(plan.capabilities, possible, channel)?;
    // The bounding set while CAP_SETPCAP is here.
    for number in each(possible & !capabilities.bounding) {
        capability::drop_bounding(number).during(|| format!("drop {}", capability_name(number)))?;
    }
    prctl::set_keep_capabilities(true).during(|| "keep capabilities over the change of user")?;
    set_user(plan)?;
    prctl::set_keep_capabilities(false).during(|| "keep capabilities no longer")?;
    set_capabilities(capabilities)?;
    process::set_umask(plan.umask);
    if die_with_parent {
        // The change of user cleared it.
        prctl::die_with_parent().during(|| "tie the process to its parent")?;
    }
    match filter {
        // As late as possible: whatever comes after has to be in everybody's profile.
        Some(filter) if plan.no_new_privileges => load(filter),
        _ => Ok(()),
    }
}

fn load(filter: &Filter) -> Outcome<()> {
    seccomp::load(&filter.program, filter.flags).map(drop).during(|| "load the seccomp filter")
}

fn set_user(plan: &ProcessPlan) -> Outcome<()> {
    let stage = || format!("become user {}:{}", plan.uid, plan.gid);
    match process::set_groups(&plan.groups) {
        // A user namespace made without privilege denies setgroups; without additional groups nothing is lost.
        Err(error) if error.is(Errno::PERM) && plan.groups.is_empty() => {}
        other => other.during(|| "set process.user.additionalGids")?,
    }
    let mapped = |failure: Failure| failure.with_hint("the user namespace's maps must hold this user and group");
    process::set_group(plan.gid).during(stage).map_err(mapped)?;
    process::set_user(plan.uid).during(stage).map_err(mapped)
}

fn set_capabilities(plan: CapabilityPlan) -> Outcome<()> {
    let stage = || "set process.capabilities";
    capability::clear_ambient().during(stage)?;
    let sets = Sets { permitted: plan.permitted, effective: plan.effective, inheritable: plan.inheritable };
    capability::set(sets).during(stage)?;
    // Only what is permitted and inheritable can be ambient, so that set comes last.
    for number in each(plan.ambient) {
        capability::raise_ambient(number).during(stage)?;
    }
    Ok(())
}

/// Takes out what the caller itself does not have, and says so.
fn clamp(plan: CapabilityPlan, possible: u64, channel: &Channel) -> Outcome<CapabilityPlan> {
    let missing = plan.all() & !possible;
    if missing != 0 {
        let names: Vec<_> = each(missing).map(capability_name).collect();
        let warning = format!("process.capabilities: not available here, left out: {}", names.join(", "));
        channel.warn(&warning).during(|| "report a warning")?;
    }
    let mut plan = plan.within(possible);
    // The kernel refuses what is effective or ambient without being permitted, and ambient without being inheritable.
    plan.effective &= plan.permitted;
    plan.ambient &= plan.permitted & plan.inheritable;
    Ok(plan)
}

/// The numbers of the capabilities in `set`.
fn each(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |&number| set & 1 << number != 0)
}

fn set_rlimits(plan: &ProcessPlan, channel: &Channel) -> Outcome<()> {
    for (index, &(resource, wanted)) in plan.rlimits.iter().enumerate() {
        let at = || format!("process.rlimits[{index}] ({resource:?})");
        match process::set_resource_limit(resource, wanted) {
            Err(error) if error.is(Errno::PERM) => {
                let highest = process::resource_limit(resource).maximum;
                if !plan.clamp_rlimits {
                    let why =
                        format!("the hard limit here is {}, and raising it takes CAP_SYS_RESOURCE", shown(highest));
                    return Err(Failure::new(format!("set {}", at()), Kind::Denied, why));
                }
                let clamped = Rlimit { current: lower(wanted.current, highest), maximum: highest };
                process::set_resource_limit(resource, clamped).during(|| format!("set {}", at()))?;
                let warning = format!("{}: lowered to the hard limit here, {}", at(), shown(highest));
                channel.warn(&warning).during(|| "report a warning")?;
            }
            other => other.during(|| format!("set {}", at()))?,
        }
    }
    Ok(())
}

fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or("unlimited".into(), |limit| limit.to_string())
}

/// Finds the program as a shell would: by its path, or along the `PATH` that it will have itself.
///
/// Asked with the rights of the runtime inside the container's root; execve(2) asks again with the program's own.
pub(crate) fn find_program(plan: &ProcessPlan) -> Outcome<CString> {
    const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let name = plan.args[0].to_string_lossy().into_owned();
    let stage = || format!("execute `{name}`");
    let not_found = |why: String| Failure::new(stage(), Kind::NotFound, why).with_code(127);
    if name.is_empty() {
        return Err(not_found("exec: \"\": no command".into()));
    }
    if name.contains('/') {
        return match executable(Path::new(&name)) {
            Ok(()) => Ok(plan.args[0].clone()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                Err(not_found(format!("exec: \"{name}\": stat {name}: no such file or directory")))
            }
            Err(errno) => {
                let why = format!("exec: \"{name}\": {}", errno_text(errno));
                Err(Failure::new(stage(), Kind::Denied, why).with_code(126))
            }
        };
    }
    let path = plan.variable("PATH").filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for dir in path.split(':') {
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(&name);
        match executable(&candidate) {
            Ok(()) => return file::c_path(&candidate).during(stage),
            Err(Errno::ACCESS) => denied = true,
            Err(_) => {}
        }
    }
    match denied {
        true => Err(Failure::new(stage(), Kind::Denied, format!("exec: \"{name}\": permission denied")).with_code(126)),
        false => Err(not_found(format!("exec: \"{name}\": executable file not found in $PATH"))),
    }
}

/// The kernel's words for an error number, alone.
fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn executable(path: &Path) -> Result<(), Errno> {
    let handle = file::open(file::CWD, path, OFlags::PATH, Mode::empty()).map_err(|error| error.errno())?;
    let found = file::stat(&handle).map_err(|error| error.errno())?;
    match file::type_of(&found) {
        file::FileType::Directory => Err(Errno::ISDIR),
        _ if found.st_mode & 0o111 == 0 => Err(Errno::ACCESS),
        _ => Ok(()),
    }
}

/// Closes everything but the standard streams and `preserve` more, and becomes the program.
pub(crate) fn execute(plan: &ProcessPlan, program: &CString, preserve: u32) -> Failure {
    let stage = || format!("execute `{}`", plan.args[0].to_string_lossy());
    if let Err(failure) = process::close_on_exec_from(3 + preserve).during(stage) {
        return failure;
    }
    let error = process::execute(program, &plan.args, &plan.env);
    let code = if error.is(Errno::NOENT) { 127 } else { 126 };
    let failure: Outcome<()> = Err(error).during(stage);
    match failure {
        Err(failure) => failure.with_code(code),
        Ok(()) => Failure::new(stage(), Kind::Internal, "execve returned"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_lowered_to_what_there_is() {
        assert_eq!(lower(Some(5), Some(3)), Some(3));
        assert_eq!(lower(None, Some(3)), Some(3));
        assert_eq!(lower(Some(5), None), Some(5));
    }
}
