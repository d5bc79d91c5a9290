//! Go's text/template, as far as `--format` uses it, over JSON values.
//!
//! Fields, indexing, variables, pipelines, parentheses, `if`, `else if`, `with`, `range`, trim markers, comments, the
//! built-in functions and Docker's own (`json`, `join`, `split`, `lower`, `upper`, `title`, `pad`, `truncate`).
//! Not there: `define`, `template`, `block` and method calls, which have no meaning for one value.

mod eval;
mod functions;
mod parse;

use serde_json::Value;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// Why a template cannot be read or filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The template's text is wrong.
    #[error("template: {0}")]
    Syntax(String),
    /// The value does not have what the template asks for.
    #[error("template: {0}")]
    Value(String),
}

impl onggi_diag::Diagnose for TemplateError {
    fn kind(&self) -> onggi_diag::Kind {
        onggi_diag::Kind::Invalid
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax(_) => {
                Some("`--format` takes `json` or a Go template such as '{{.ID}}: {{.State.Status}}'".into())
            }
            Self::Value(_) => Some("`--format json` shows the fields that there are".into()),
        }
    }
}

impl Template {
    /// Reads a template. `\t` and `\n` written as two characters mean a tab and a line, as docker has it.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(&text.replace("\\t", "\t").replace("\\n", "\n")).map(|nodes| Self { nodes })
    }

    /// Fills it in.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value, eval::Missing::IsAnError)
    }

    /// Fills it in with headings; a field without one shows nothing.
    pub(crate) fn render_headings(&self, headings: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, headings, eval::Missing::IsEmpty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: &str, expected: &str) {
        let value = json!({
            "Name": "/web", "Pid": 7, "Up": true, "Empty": [], "None": null, "Ratio": 0.5,
            "State": {"Status": "running", "ExitCode": 0}, "Env": ["A=1", "B=2"], "Labels": {"b": "2", "a": "1"},
            "Mounts": [{"Source": "/s", "RW": false}, {"Source": "/t", "RW": true}],
        });
        let rendered = Template::parse(template).and_then(|template| template.render(&value));
        assert_eq!(rendered.as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn what_scripts_use() {
        check("{{.Name}}", "/web");
        check("{{ .State.Status }}:{{.State.ExitCode}}", "running:0");
        check("{{json .State}}", r#"{"ExitCode":0,"Status":"running"}"#);
        check("{{.State | json}}", r#"{"ExitCode":0,"Status":"running"}"#);
        check("{{range .Env}}{{println .}}{{end}}", "A=1\nB=2\n");
        check("{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;");
        check("{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "a1b2");
        check("{{range .Empty}}x{{else}}nothing{{end}}", "nothing");
        check("{{if .Up}}up{{else}}down{{end}}", "up");
        check("{{if not .Up}}a{{else if eq .Pid 7}}seven{{else}}b{{end}}", "seven");
        check("{{with .State}}{{.Status}}{{end}}", "running");
        check("{{index .Env 1}} {{index .Labels \"a\"}}", "B=2 1");
        check("{{(index .Mounts 1).Source}}", "/t");
        check("{{len .Env}}", "2");
        check(
            "{{printf \"%s-%d-%v-%q-%5s|%-5s|%05d\" .Name .Pid .Up .Name \"x\" \"y\" 42}}",
            "/web-7-true-\"/web\"-    x|y    |00042",
        );
        check("{{join .Env \",\"}} {{upper \"a\"}} {{title \"abc\"}}", "A=1,B=2 A Abc");
        check("{{split .Name \"/\"}}", "[ web]");
        check("{{.Env}} {{.Labels}} {{.None}}", "[A=1 B=2] map[a:1 b:2] <no value>");
        check("a {{- .Pid -}} b", "a7b");
        check("{{/* note */}}x", "x");
        check("{{$x := .Pid}}{{$x}}", "7");
        check("{{and .Up .Pid}} {{or .Empty \"d\"}} {{gt .Pid 3}} {{ne .Name \"x\"}}", "7 d true true");
        check("{{eq .Pid 1 7}} {{lt .Ratio 1.0}}", "true true");
        check("{{range .Mounts}}{{if .RW}}{{$.Name}}{{.Source}}{{end}}{{end}}", "/web/t");
        check("{{truncate \"abcdef\" 3}}|{{pad \"x\" 1 2}}|", "abc| x  |");
        check("{{`raw \"x\"`}} {{\"a\\\"b\"}}", "raw \"x\" a\"b");
        check("{{.Name}}\\t{{.Pid}}", "/web\t7");
        check("{{slice .Name 1}} {{slice .Name 1 2}}", "web w");
        check("{{range .Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}", "A=1");
    }

    #[test]
    fn faults_are_named() {
        for template in [
            "{{",
            "{{.A",
            "{{if .A}}",
            "{{end}}",
            "{{else}}",
            "{{.A | }}",
            "{{\"x}}",
            "{{nope .A}}",
            "{{)}}",
            "{{range}}{{end}}",
        ] {
            assert!(matches!(Template::parse(template), Err(TemplateError::Syntax(_))), "{template}");
        }
        for template in ["{{.Missing}}", "{{.Name.X}}", "{{index .Env 9}}", "{{len 3}}", "{{$x}}", "{{lt \"a\" 1}}"] {
            let outcome = Template::parse(template).and_then(|t| t.render(&json!({"Name": "n", "Env": []})));
            assert!(matches!(outcome, Err(TemplateError::Value(_))), "{template}: {outcome:?}");
        }
    }
}
