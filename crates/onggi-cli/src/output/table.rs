//! Lists: a table for people, JSON lines or a template for scripts.

use serde_json::Value;

use super::template::{Template, TemplateError};

/// How a list is printed.
#[derive(Debug)]
pub(crate) enum Format {
    /// Padded columns under a heading.
    Table,
    /// One JSON object per line.
    Json,
    /// A template per row.
    Template(Template),
    /// A template per row, padded to columns under headings made of the field names.
    TableOf(Template),
}

impl Format {
    /// Reads `--format`: `table`, `json`, `table TEMPLATE` or `TEMPLATE`.
    pub(crate) fn parse(word: Option<&str>) -> Result<Self, TemplateError> {
        match word {
            None | Some("" | "table") => Ok(Self::Table),
            Some("json") => Ok(Self::Json),
            Some(text) => match text.strip_prefix("table ") {
                Some(rest) => Template::parse(rest).map(Self::TableOf),
                None => Template::parse(text).map(Self::Template),
            },
        }
    }
}

/// Rows that are printed alike: objects whose fields have Docker's names.
pub(crate) struct Listing {
    /// Heading and field of each column of the plain table.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// The rows.
    pub(crate) rows: Vec<Value>,
}

impl Listing {
    /// The whole list as text.
    ///
    /// # Errors
    /// A template that names what a row does not have.
    pub(crate) fn render(&self, format: &Format) -> Result<String, TemplateError> {
        match format {
            Format::Json => Ok(self.rows.iter().map(|row| format!("{row}\n")).collect()),
            Format::Template(template) => self.rows.iter().map(|row| Ok(template.render(row)? + "\n")).collect(),
            Format::Table => Ok(padded(&self.cells())),
            Format::TableOf(template) => {
                let mut lines = vec![split(&template.render_headings(&self.headings())?)];
                for row in &self.rows {
                    lines.push(split(&template.render(row)?));
                }
                Ok(padded(&lines))
            }
        }
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let heading = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let rows = self.rows.iter().map(|row| self.columns.iter().map(|(_, field)| text(&row[*field])).collect());
        std::iter::once(heading).chain(rows).collect()
    }

    fn headings(&self) -> Value {
        Value::Object(self.columns.iter().map(|(heading, field)| ((*field).to_owned(), (*heading).into())).collect())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn split(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_owned).collect()
}

/// Columns as wide as their widest cell and three spaces, the last one as it is.
fn padded(lines: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < line.len() {
                out.extend(std::iter::repeat_n(' ', widths[column] + 3 - cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing() -> Listing {
        Listing {
            columns: &[("CONTAINER ID", "ID"), ("NAMES", "Names")],
            rows: vec![json!({"ID": "abc", "Names": "keen-plum"}), json!({"ID": "d", "Names": "x"})],
        }
    }

    #[test]
    fn tables_are_padded() {
        let table = listing().render(&Format::Table).unwrap();
        assert_eq!(table, "CONTAINER ID   NAMES\nabc            keen-plum\nd              x\n");
    }

    #[test]
    fn templates_get_headings_only_when_asked() {
        let plain = Format::parse(Some("{{.Names}}")).unwrap();
        assert_eq!(listing().render(&plain).unwrap(), "keen-plum\nx\n");
        let table = Format::parse(Some("table {{.Names}}\t{{.ID}}")).unwrap();
        assert_eq!(listing().render(&table).unwrap(), "NAMES       CONTAINER ID\nkeen-plum   abc\nx           d\n");
    }
}
