//! Expands `~` and Llama Stack's `${env.NAME}`, `${env.NAME:=default}` and `${env.NAME:+value}`.

use crate::environment::Environment;

/// A text whose variables are expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub text: String,
    /// The first variable whose value is in the text.
    pub variable: Option<String>,
}

const OPENING: &str = "${env.";

/// Expands every `${env.…}` in `text`. Returns `None` if there is none.
///
/// A variable that is set to the empty string counts as unset for `:=` and `:+`, as in a shell.
///
/// # Errors
///
/// A message that names the variable.
pub(crate) fn expand_variables(
    text: &str,
    environment: &dyn Environment,
) -> Result<Option<Expanded>, String> {
    if !text.contains(OPENING) {
        return Ok(None);
    }
    let mut out = Expanded { text: String::with_capacity(text.len()), variable: None };
    let mut rest = text;
    while let Some(start) = rest.find(OPENING) {
        out.text.push_str(&rest[..start]);
        let inner = &rest[start + OPENING.len()..];
        let Some(end) = inner.find('}') else {
            return Err("`${env.` has no closing `}`; the form is `${env.NAME:=default}`".to_owned());
        };
        expand_one(&inner[..end], environment, &mut out)?;
        rest = &inner[end + 1..];
    }
    out.text.push_str(rest);
    Ok(Some(out))
}

/// Appends the value of one `NAME`, `NAME:=default` or `NAME:+value`.
fn expand_one(expression: &str, environment: &dyn Environment, out: &mut Expanded) -> Result<(), String> {
    let end = expression.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(expression.len());
    let (name, operation) = expression.split_at(end);
    if name.is_empty() {
        return Err("`${env.…}` has no variable name; the form is `${env.NAME}`".to_owned());
    }
    if operation.contains(OPENING) {
        return Err(format!("`${{env.…}}` can't be nested, as it is inside `${{env.{name}…}}`"));
    }
    let value = environment
        .variable(name)
        .map_err(|error| format!("the environment variable {name} can't be used: {error}"))?;
    let filled = value.as_deref().filter(|value| !value.is_empty());
    if let Some(default) = operation.strip_prefix(":=") {
        match filled {
            Some(value) => out.push_value(name, value),
            None => out.text.push_str(default),
        }
    } else if let Some(conditional) = operation.strip_prefix(":+") {
        if filled.is_some() {
            out.text.push_str(conditional);
        }
    } else if operation.is_empty() {
        let Some(value) = value else {
            return Err(format!(
                "the environment variable {name} is not set; set it or write `${{env.{name}:=default}}`"
            ));
        };
        out.push_value(name, &value);
    } else {
        return Err(format!(
            "invalid `${{env.{name}…}}`: expected `${{env.{name}}}`, `${{env.{name}:=default}}` or `${{env.{name}:+value}}`"
        ));
    }
    Ok(())
}

impl Expanded {
    fn push_value(&mut self, name: &str, value: &str) {
        self.text.push_str(value);
        self.variable.get_or_insert_with(|| name.to_owned());
    }
}

/// Expands a leading `~` or `~/` to the home folder.
///
/// # Errors
///
/// A message if the environment does not name a home folder.
pub(crate) fn expand_home(path: &str, environment: &dyn Environment) -> Result<String, String> {
    let Some(rest) = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return Ok(path.to_owned());
    };
    match environment.variable("HOME") {
        Ok(Some(home)) if !home.is_empty() => Ok(home + rest),
        Ok(_) => Err(format!("can't expand `~` in `{path}`: the environment variable HOME is not set")),
        Err(error) => Err(format!("can't expand `~` in `{path}`: the environment variable HOME: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variables;

    fn text(template: &str) -> Result<String, String> {
        let environment = Variables::from([("A", "1"), ("EMPTY", ""), ("b_2", "x")]);
        expand_variables(template, &environment)
            .map(|done| done.map_or(template.to_owned(), |done| done.text))
    }

    #[test]
    fn the_three_forms_expand_as_in_a_shell() {
        for (template, expected) in [
            ("no variable: $A ${A} {env.A}", "no variable: $A ${A} {env.A}"),
            ("${env.A}", "1"),
            ("<${env.A}${env.b_2}>", "<1x>"),
            ("${env.EMPTY}", ""),
            ("${env.A:=2}", "1"),
            ("${env.UNSET:=2}", "2"),
            ("${env.EMPTY:=2}", "2"),
            ("${env.UNSET:=}", ""),
            ("${env.UNSET:=http://h:1/a?b=c}/v1", "http://h:1/a?b=c/v1"),
            ("${env.A:+yes}", "yes"),
            ("${env.UNSET:+yes}", ""),
            ("${env.EMPTY:+yes}", ""),
            ("${env.A:+}", ""),
        ] {
            assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn an_expression_that_can_not_be_expanded_is_an_error() {
        for (template, expected) in [
            (
                "${env.UNSET}",
                "the environment variable UNSET is not set; set it or write `${env.UNSET:=default}`",
            ),
            ("${env.A", "`${env.` has no closing `}`; the form is `${env.NAME:=default}`"),
            ("${env.}", "`${env.…}` has no variable name; the form is `${env.NAME}`"),
            ("${env.UNSET:=${env.A}}", "`${env.…}` can't be nested, as it is inside `${env.UNSET…}`"),
            (
                "${env.A:-x}",
                "invalid `${env.A…}`: expected `${env.A}`, `${env.A:=default}` or `${env.A:+value}`",
            ),
        ] {
            assert_eq!(text(template).unwrap_err(), expected, "{template}");
        }
    }

    #[test]
    fn the_first_variable_in_the_text_is_returned() {
        let environment = Variables::from([("A", "1")]);
        let variable = |template| expand_variables(template, &environment).unwrap().unwrap().variable;
        assert_eq!(variable("${env.UNSET:=0}${env.A}"), Some("A".to_owned()));
        assert_eq!(variable("${env.UNSET:=0}"), None);
    }

    #[test]
    fn a_leading_tilde_is_the_home_folder() {
        let environment = Variables::from([("HOME", "/home/ada")]);
        let expand = |path| expand_home(path, &environment).unwrap();
        assert_eq!(expand("~"), "/home/ada");
        assert_eq!(expand("~/x.db"), "/home/ada/x.db");
        assert_eq!(expand("~bob/x.db"), "~bob/x.db");
        assert_eq!(expand("a/~/x.db"), "a/~/x.db");
        assert_eq!(
            expand_home("~/x.db", &Variables::default()).unwrap_err(),
            "can't expand `~` in `~/x.db`: the environment variable HOME is not set"
        );
    }
}
