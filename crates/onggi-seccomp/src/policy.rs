//! A profile as rules by number, for one architecture.

use onggi_oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use crate::architecture::X32_BIT;
use crate::syscalls::Known;
use crate::{Action, Architecture, Error, Result, syscalls};

/// What a filter does for one architecture.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) architecture: Architecture,
    pub(crate) default: Action,
    /// What is done for a call, sorted by its number.
    pub(crate) calls: Vec<(u32, Call)>,
    /// The largest number that the profile names, where one above it is to be answered with `ENOSYS`.
    pub(crate) last_known: Option<u32>,
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

/// A profile's rules before they are for any architecture, checked.
pub(crate) struct Rules<'a> {
    default: Action,
    rules: Vec<Rule>,
    /// Names that no architecture knows; all runtimes pass over them, as a profile may be newer than its reader.
    pub(crate) unknown: Vec<&'a str>,
}

struct Rule {
    names: Vec<Known>,
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
        let mut unknown = Vec::new();
        let rules = profile.syscalls().iter().flatten().map(|rule| Rule::parse(rule, &mut unknown));
        Ok(Self { default, rules: rules.collect::<Result<_>>()?, unknown })
    }

    /// Whether somebody must listen.
    pub(crate) fn notify(&self) -> bool {
        self.rules.iter().any(|rule| rule.action.is_notify())
    }

    pub(crate) fn policy(&self, architecture: Architecture) -> Policy {
        let numbered = |rule: &Rule, name: &Known| name.number(architecture).filter(|_| rule.action != self.default);
        let names = self.rules.iter().flat_map(|rule| rule.names.iter().map(move |name| (rule, name)));
        // A rule that says what is done anyway is no rule: it does not come before others for the same call.
        let mut words: Vec<(u32, Word<'_>)> =
            names.clone().filter_map(|(rule, name)| Some((numbered(rule, name)?, Word::Rule(rule)))).collect();
        words.extend(names.clone().filter_map(|(rule, name)| self.through_another(architecture, rule, *name)));
        // Stable, so that of several rules for a call the first stays the first.
        words.sort_by_key(|(number, _)| *number);
        let calls = words.chunk_by(|one, next| one.0 == next.0);
        let calls = calls.map(|words| (words[0].0, Call::decide(words.iter().map(|(_, word)| word), self.default)));
        Policy {
            architecture,
            default: self.default,
            calls: calls.collect(),
            last_known: self.last_known(architecture, names.map(|(_, name)| *name)),
        }
    }

    /// The rule for a call that can be reached through another one's first argument.
    fn through_another(&self, architecture: Architecture, rule: &Rule, name: Known) -> Option<(u32, Word<'_>)> {
        let (through, number) = syscalls::multiplexed(architecture, name.name())?;
        let applies = rule.action != self.default && rule.alternatives.iter().all(Vec::is_empty);
        let condition = Condition { argument: 0, test: Test::Equal(number) };
        applies.then_some((architecture.number(through)?, Word::If(condition, rule.action)))
    }

    /// Above it are calls that the profile's author has never heard of; none where those are let pass, or told
    /// `ENOSYS` anyway.
    fn last_known(&self, architecture: Architecture, names: impl Iterator<Item = Known>) -> Option<u32> {
        if self.default.lets_pass() || self.default == Action::NO_SUCH_CALL {
            return None;
        }
        // 32-bit ARM has a few calls of its own far above those that are numbered in order.
        names.filter_map(|name| name.number(architecture)).filter(|number| number & !X32_BIT < ARM_PRIVATE).max()
    }
}

/// `__ARM_NR_BASE`.
const ARM_PRIVATE: u32 = 0x000f_0000;

/// What one rule says about one call.
enum Word<'a> {
    Rule(&'a Rule),
    If(Condition, Action),
}

impl Call {
    /// A rule without conditions decides for its call, wherever it stands among those with conditions; of several
    /// that decide the first does.
    fn decide<'a>(words: impl Iterator<Item = &'a Word<'a>>, default: Action) -> Self {
        let mut alternatives = Vec::new();
        for word in words {
            match *word {
                Word::If(condition, action) => alternatives.push(Alternative { conditions: vec![condition], action }),
                Word::Rule(&Rule { ref alternatives, action, .. }) if alternatives.iter().any(Vec::is_empty) => {
                    return Self { alternatives: Vec::new(), otherwise: action };
                }
                Word::Rule(rule) => alternatives.extend(
                    rule.alternatives
                        .iter()
                        .map(|conditions| Alternative { conditions: conditions.clone(), action: rule.action }),
                ),
            }
        }
        Self { alternatives, otherwise: default }
    }
}

impl Rule {
    /// Names that nobody knows go to `unknown`.
    fn parse<'a>(rule: &'a LinuxSyscall, unknown: &mut Vec<&'a str>) -> Result<Self> {
        let Some(first) = rule.names().first() else { return Err(Error::NoNames) };
        let action = Action::parse(rule.action(), rule.errno_ret())?;
        // The supervisor would have to write in order to let itself write.
        if action.is_notify() && rule.names().iter().any(|name| name == "write") {
            return Err(Error::Notify { what: "the action for `write`" });
        }
        let conditions = rule.args().as_deref().unwrap_or_default();
        let conditions: Vec<Condition> =
            conditions.iter().map(|arg| Condition::parse(arg, first)).collect::<Result<_>>()?;
        let mut names = Vec::with_capacity(rule.names().len());
        for name in rule.names() {
            match Known::find(name) {
                Some(known) => names.push(known),
                None => unknown.push(name),
            }
        }
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
