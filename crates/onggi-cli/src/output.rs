//! What a person or a script reads: tables, templates, sizes, ages, errors.

mod human;
mod report;
mod table;
mod template;

pub(crate) use human::{age, size, size_precise};
pub(crate) use report::report;
pub(crate) use table::{Format, Listing};
pub(crate) use template::{Template, TemplateError};
