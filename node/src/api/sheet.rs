//! Every list as CSV (RFC 4180): `.csv` behind the path of a JSON address gives the same rows.
//!
//! A list of objects becomes one row an object. Objects inside become columns named
//! `outer_inner`, lists of plain values one cell with spaces between, and lists of objects the number
//! of them, since what they hold has an address of its own.

use super::csv::text;
use super::reply::fault;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest JSON that is turned into CSV.
const BYTES_MAX: usize = 64 << 20;
/// The one table with columns of its own, see [`super::csv`].
const OWN_COLUMNS: &str = "/api/claims.csv";

/// Answers `/api/X.csv` with what `/api/X` answers, as a table.
pub(super) async fn tables(mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(plain) = path.strip_suffix(".csv").filter(|_| path.starts_with("/api/")) else {
        return next.run(request).await;
    };
    if path == OWN_COLUMNS {
        return next.run(request).await;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let name = plain.trim_start_matches("/api/").replace('/', "-");
    let Ok(target) = PathAndQuery::try_from(format!("{plain}{query}")) else {
        return fault(StatusCode::BAD_REQUEST, "the address cannot be read");
    };
    *request.uri_mut() = Uri::from(target);
    let answer = next.run(request).await;
    let is_json =
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == "application/json");
    if !answer.status().is_success() || !is_json {
        return answer;
    }
    let Ok(bytes) = to_bytes(answer.into_body(), BYTES_MAX).await else {
        return fault(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the table is too large; ask for a part of it",
        );
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => download(&name, &table(&value)),
        Err(_) => fault(StatusCode::INTERNAL_SERVER_ERROR, "the list cannot be read"),
    }
}

fn download(name: &str, table: &str) -> Response {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().map(plain).take(80).collect();
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ];
    (headers, table.to_owned()).into_response()
}

/// The rows of an answer: itself where it is a list, else its first list of objects, else it alone.
fn rows(value: &Value) -> Vec<&Value> {
    let objects =
        |value: &&Value| value.as_array().and_then(|all| all.first()).is_some_and(Value::is_object);
    let empty = |value: &&Value| value.as_array().is_some_and(Vec::is_empty);
    let list = match value {
        Value::Array(_) => Some(value),
        Value::Object(fields) => {
            fields.values().find(objects).or_else(|| fields.values().find(empty))
        }
        _ => None,
    };
    match list {
        Some(Value::Array(all)) => all.iter().collect(),
        _ => vec![value],
    }
}

/// The table with its header line; lines end with CR LF.
fn table(value: &Value) -> String {
    let rows: Vec<BTreeMap<String, String>> = rows(value).into_iter().map(cells).collect();
    let mut columns: Vec<String> = Vec::new();
    for name in self::rows(value).into_iter().flat_map(names) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    // What is an object in one row and missing in another is told by its parts.
    let parts: Vec<String> = columns.iter().map(|column| format!("{column}_")).collect();
    let whole: Vec<&String> = columns
        .iter()
        .zip(&parts)
        .filter(|(column, part)| {
            let divided = columns.iter().any(|other| other.starts_with(part.as_str()));
            let said = rows.iter().any(|row| row.get(*column).is_some_and(|cell| !cell.is_empty()));
            said || !divided
        })
        .map(|(column, _)| column)
        .collect();
    let mut out = whole.iter().map(|column| column.as_str()).collect::<Vec<_>>().join(",");
    out.push_str("\r\n");
    for row in &rows {
        let line = whole.iter().map(|column| row.get(*column).map_or("", String::as_str));
        out.push_str(&line.collect::<Vec<_>>().join(","));
        out.push_str("\r\n");
    }
    out
}

fn names(row: &Value) -> Vec<String> {
    let mut found = Vec::new();
    flatten("", row, &mut |name, _| found.push(name));
    found
}

fn cells(row: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten("", row, &mut |name, cell| {
        found.insert(name, cell);
    });
    found
}

fn flatten(prefix: &str, value: &Value, give: &mut dyn FnMut(String, String)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let name =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}_{name}") };
                flatten(&name, value, give);
            }
        }
        _ => give(
            if prefix.is_empty() { "value".to_owned() } else { prefix.to_owned() },
            cell(value),
        ),
    }
}

/// A value as a cell. Numbers stand as they are; text that others may have written is quoted.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(words) => text(words),
        Value::Array(all) if all.iter().any(Value::is_object) => all.len().to_string(),
        Value::Array(all) => {
            let words = all.iter().map(|one| match one {
                Value::String(words) => words.clone(),
                other => other.to_string(),
            });
            text(&words.collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => fields.len().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_become_columns_and_lists_one_cell() {
        let rows = json!([
            { "id": "a", "who": { "peer": "p", "name": "=1+1" }, "ratio": null, "levers": ["x", "y"] },
            { "id": "b", "who": { "peer": "q", "name": "bo" }, "ratio": { "ppm": 7 }, "levers": [] },
        ]);
        assert_eq!(
            table(&rows),
            "id,who_peer,who_name,levers,ratio_ppm\r\n\"a\",\"p\",\"'=1+1\",\"x y\",\r\n\"b\",\"q\",\"bo\",\"\",7\r\n"
        );
    }

    #[test]
    fn the_first_list_of_an_answer_is_its_table() {
        let answer =
            json!({ "total": 2, "words": ["x"], "posts": [{ "n": 1, "seats": [{}, {}] }] });
        assert_eq!(table(&answer), "n,seats\r\n1,2\r\n");
        assert_eq!(table(&json!({ "a": 1, "b": { "c": true } })), "a,b_c\r\n1,true\r\n");
        assert_eq!(table(&json!([])), "\r\n");
        assert_eq!(table(&json!("x")), "value\r\n\"x\"\r\n");
    }
}
