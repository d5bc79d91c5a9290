//! `linux.resources.unified`: files of the v2 group by name.

use std::collections::HashMap;

use super::meaningless;
use crate::group::Cgroup;
use crate::{Error, Result};

/// Files that move, stop or kill processes, or hand control down: not limits, and not the specification's to write.
const NOT_LIMITS: [&str; 6] =
    ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type", "cgroup.subtree_control"];

/// Writes each value to the file of its name, line by line where it has several.
pub(crate) fn set(group: &Cgroup, unified: &HashMap<String, String>) -> Result<()> {
    // Sorted, so that the same specification does the same thing twice.
    let mut entries: Vec<(&String, &String)> = unified.iter().collect();
    entries.sort();
    for (name, value) in entries {
        let Some(part) = group.parts.iter().find(|part| part.v2) else {
            return Err(Error::Value {
                field: format!("unified[{name}]"),
                value: value.clone(),
                why: "needs cgroup v2, which is not mounted here",
            });
        };
        if !is_file_of_a_limit(name) {
            return Err(meaningless("unified", &name.escape_debug(), "names no file of a limit"));
        }
        let mut lines = value.lines().filter(|line| !line.is_empty()).peekable();
        if lines.peek().is_none() {
            part.directory.write(name, "")?;
        }
        lines.try_for_each(|line| part.directory.write(name, line))?;
    }
    Ok(())
}

fn is_file_of_a_limit(name: &str) -> bool {
    name.contains('.') && !name.starts_with('.') && !name.contains('/') && !NOT_LIMITS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Controller;
    use crate::limits::fake::{Fake, told};

    fn group(fake: &Fake, v2: bool) -> Cgroup {
        let part = if v2 { fake.v2(Controller::Memory) } else { fake.v1(Controller::Memory) };
        Cgroup { parts: vec![part] }
    }

    fn map(name: &str, value: &str) -> HashMap<String, String> {
        HashMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn values_go_to_the_files_they_name() {
        let fake = Fake::new(&[("memory.high", "")]);
        set(&group(&fake, true), &map("memory.high", "1073741824")).unwrap();
        assert_eq!(fake.read("memory.high"), "1073741824");
    }

    #[test]
    fn nothing_else_can_be_written() {
        let fake = Fake::new(&[("cgroup.procs", "")]);
        for name in ["cgroup.procs", "../memory.max", "x/memory.max", "cgroup.subtree_control", "..", "plain"] {
            let error = set(&group(&fake, true), &map(name, "1")).unwrap_err();
            assert!(told(&error).contains("names no file of a limit"), "{name}: {}", told(&error));
        }
        let error = set(&group(&fake, false), &map("memory.high", "1")).unwrap_err();
        assert!(told(&error).contains("needs cgroup v2"), "{}", told(&error));
    }
}
