//! `inspect`, of containers and of images.

use std::process::ExitCode;

use serde_json::Value;

use crate::args::{Inspect, InspectKind};
use crate::context::{Context, print, tell};
use crate::error::{Error, Result};
use crate::image;
use crate::output::{Template, report};

/// Prints what is known of every name; those that stand for nothing are reported after the others.
pub(crate) fn inspect(context: &Context, args: &Inspect, default: Option<InspectKind>) -> Result<ExitCode> {
    let template = match args.format.as_deref() {
        None | Some("json" | "") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let mut found = Vec::new();
    let mut failed = false;
    for name in &args.names {
        match known(context, name, args.kind.or(default)) {
            Ok(value) => found.push(value),
            Err(error) => {
                failed = true;
                tell(report(&error).trim_end());
            }
        }
    }
    match template {
        Some(template) => {
            for value in &found {
                print(&(template.render(value)? + "\n"))?;
            }
        }
        None if args.format.as_deref() == Some("json") => print(&format!("{}\n", Value::Array(found)))?,
        None => print(&pretty(&Value::Array(found)))?,
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn known(context: &Context, name: &str, kind: Option<InspectKind>) -> Result<Value> {
    let container = || -> Result<Value> {
        let containers = context.engine.containers();
        Ok(containers.inspect(&containers.find(name)?)?)
    };
    match kind {
        Some(InspectKind::Container) => container(),
        Some(InspectKind::Image) => image::inspect(context, name),
        None => match container() {
            Err(Error::Engine(onggi_engine::Error::NoSuchContainer(_) | onggi_engine::Error::Name(_))) => {
                image::inspect(context, name).map_err(|error| match error {
                    Error::Image(image) if onggi_diag::Diagnose::kind(&image) == onggi_diag::Kind::NotFound => {
                        Error::usage(format!("no such container or image: {name}"))
                    }
                    other => other,
                })
            }
            other => other,
        },
    }
}

/// JSON as docker prints it: indented by four.
fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned() + "\n",
        Err(_) => format!("{value}\n"),
    }
}
