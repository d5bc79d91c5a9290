//! A profile as rules by number, for one architecture.

use std::collections::BTreeMap;

use onggi_oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use crate::{Action, Architecture, Error, Result, syscalls};

/// What a filter does for one architecture.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) architecture: Architecture,
    pub(crate) default: Action,
    /// What is done for a call, by its number.
    pub(crate) calls: BTreeMap<u32, Call>,
}

/// What is done for one call: the first alternative that fits, or `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) otherwise: Action,
}

/// Conditions that must all hold, and what is done then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
}

/// A comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) test: Test,
}

/// The comparisons; all numbers are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Equal(u64),
    GreaterOrEqual(u64),
    Greater(u64),
    MaskedEqual { mask: u64, value: u64 },
}

/// A profile's rules before they are for any architecture: checked, with what does nothing left out.
pub(crate) struct Rules<'a> {
    pub(crate) default: Action,
    rules: Vec<Rule<'a>>,
    /// Names that no architecture knows; all runtimes pass over them, as a profile may be newer than its reader.
    pub(crate) unknown: Vec<&'a str>,
}

struct Rule<'a> {
    names: &'a [String],
    action: Action,
    /// Each a way in which the rule can fit; one without conditions if the rule has none.
    alternatives: Vec<Vec<Condition>>,
}

impl<'a> Rules<'a> {
    pub(crate) fn parse(profile: &'a LinuxSeccomp) -> Result<Self> {
        let default = Action::parse(profile.default_action(), profile.default_errno_ret())?;
        if default.is_notify() {
            return Err(Error::Notify { what: "the default action" });
        }
        let mut rules = Vec::new();
        let mut unknown = Vec::new();
        for rule in profile.syscalls().as_deref().unwrap_or_default() {
            let rule = Rule::parse(rule)?;
            unknown.extend(rule.names.iter().map(String::as_str).filter(|name| !syscalls::is_known(name)));
            // A rule that says what is done anyway is no rule: it does not come before others for the same call.
            if rule.action != default {
                rules.push(rule);
            }
        }
        Ok(Self { default, rules, unknown })
    }

    /// Whether somebody must listen.
    pub(crate) fn notify(&self) -> bool {
        self.rules.iter().any(|rule| rule.action.is_notify())
    }

    pub(crate) fn policy(&self, architecture: Architecture) -> Policy {
        let mut policy = Policy { architecture, default: self.default, calls: BTreeMap::new() };
        for rule in &self.rules {
            for name in rule.names {
                if let Some(number) = architecture.number(name) {
                    policy.add(number, rule.action, &rule.alternatives);
                }
                if let Some((through, number)) = syscalls::multiplexed(architecture, name)
                    && rule.alternatives.iter().all(Vec::is_empty)
                    && let Some(through) = architecture.number(through)
                {
                    let condition = Condition { argument: 0, test: Test::Equal(number) };
                    policy.add(through, rule.action, &[vec![condition]]);
                }
            }
        }
        policy
    }
}

impl Policy {
    /// A rule without conditions decides for its call, wherever it stands among those with conditions; of several
    /// that decide the first does.
    fn add(&mut self, number: u32, action: Action, alternatives: &[Vec<Condition>]) {
        let fresh = Call { alternatives: Vec::new(), otherwise: self.default };
        let call = self.calls.entry(number).or_insert(fresh);
        for conditions in alternatives {
            if call.is_decided(self.default) {
                return;
            }
            if conditions.is_empty() {
                *call = Call { alternatives: Vec::new(), otherwise: action };
            } else {
                call.alternatives.push(Alternative { conditions: conditions.clone(), action });
            }
        }
    }
}

impl Call {
    fn is_decided(&self, default: Action) -> bool {
        self.otherwise != default
    }
}

impl<'a> Rule<'a> {
    fn parse(rule: &'a LinuxSyscall) -> Result<Self> {
        let names = rule.names().as_slice();
        let Some(first) = names.first() else { return Err(Error::NoNames) };
        let action = Action::parse(rule.action(), rule.errno_ret())?;
        // The supervisor would have to write in order to let itself write.
        if action.is_notify() && names.iter().any(|name| name == "write") {
            return Err(Error::Notify { what: "the action for `write`" });
        }
        let conditions = rule.args().as_deref().unwrap_or_default();
        let conditions: Vec<Condition> =
            conditions.iter().map(|arg| Condition::parse(arg, first)).collect::<Result<_>>()?;
        Ok(Self { names, action, alternatives: alternatives(conditions) })
    }
}

/// Conditions of a rule hold together; but where two look at the same argument each stands for itself, which is how
/// runc has read such rules from its first days and what profiles rely on.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let mut seen = [false; 6];
    let twice = conditions.iter().any(|one| std::mem::replace(&mut seen[usize::from(one.argument)], true));
    if twice { conditions.into_iter().map(|one| vec![one]).collect() } else { vec![conditions] }
}

impl Condition {
    fn parse(arg: &LinuxSeccompArg, syscall: &str) -> Result<Self> {
        use LinuxSeccompOperator as O;
        let argument = u8::try_from(arg.index()).ok().filter(|&index| index < 6);
        let argument = argument.ok_or_else(|| Error::Argument { syscall: syscall.to_owned(), index: arg.index() })?;
        let value = arg.value();
        let test = match arg.op() {
            O::ScmpCmpNe => Test::NotEqual(value),
            O::ScmpCmpLt => Test::Less(value),
            O::ScmpCmpLe => Test::LessOrEqual(value),
            O::ScmpCmpEq => Test::Equal(value),
            O::ScmpCmpGe => Test::GreaterOrEqual(value),
            O::ScmpCmpGt => Test::Greater(value),
            O::ScmpCmpMaskedEq => Test::MaskedEqual { mask: value, value: arg.value_two().unwrap_or(0) },
        };
        Ok(Self { argument, test })
    }
}
