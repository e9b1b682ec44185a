//! The one language of `{{ … }}` and `when`: minijinja with strict undefined, bounded; only `{{ }}` is special.

use std::collections::BTreeSet;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

/// Bounds one rendering in time and, at about 64 bytes each, in size: 3 MiB.
const FUEL: u64 = 50_000;

/// What is wrong with a template or `when`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// In one line.
    pub(crate) message: String,
    /// The part of the template that it is about, where that is known.
    pub(crate) range: Option<Range<usize>>,
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        Self { message: format!("{}{detail}", error.kind()), range: error.range() }
    }
}

/// Renders templates and evaluates `when`.
pub(crate) struct Engine {
    environment: Environment<'static>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // Errors know their range only then.
        environment.set_debug(true);
        // Blocks and comments get delimiters that no text has, so that shell's `${#x}` and `{%` stay as they are.
        let syntax = SyntaxConfig::builder()
            .block_delimiters("\u{1}{%", "%}\u{1}")
            .comment_delimiters("\u{1}{#", "#}\u{1}")
            .keep_trailing_newline(true)
            .build();
        if let Ok(syntax) = syntax {
            environment.set_syntax(syntax);
        }
        let globals: Vec<String> = environment.globals().map(|(name, _)| name.to_owned()).collect();
        for name in globals {
            environment.remove_global(&name);
        }
        Self { environment }
    }

    /// Whether a text has anything to render.
    pub(crate) fn is_template(text: &str) -> bool {
        text.contains("{{")
    }

    /// The variables that a template asks for, dotted: `os.family`, `params.branch`, `worker`.
    pub(crate) fn names(&self, text: &str) -> Result<BTreeSet<String>, TemplateError> {
        Ok(self.environment.template_from_str(text)?.undeclared_variables(true).into_iter().collect())
    }

    /// The variables that a `when` asks for.
    pub(crate) fn expression_names(&self, text: &str) -> Result<BTreeSet<String>, TemplateError> {
        Ok(self.environment.compile_expression(text)?.undeclared_variables(true).into_iter().collect())
    }

    pub(crate) fn render(&self, text: &str, context: &Value) -> Result<String, TemplateError> {
        Ok(self.environment.render_str(text, context.clone())?)
    }

    /// Whether a `when` holds.
    pub(crate) fn holds(&self, text: &str, context: &Value) -> Result<bool, TemplateError> {
        Ok(self.environment.compile_expression(text)?.eval(context.clone())?.is_true())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn render(text: &str) -> Result<String, TemplateError> {
        Engine::new().render(text, &context! { os => context! { family => "debian" }, cpus => 8 })
    }

    #[test]
    fn only_double_braces_are_special() {
        let shell = "${#x} {% raw %} {# no comment #} {{ os.family }}\n";
        assert_eq!(render(shell).unwrap(), "${#x} {% raw %} {# no comment #} debian\n");
    }

    #[test]
    fn undefined_is_an_error_and_says_which_part() {
        let text = "x {{ os.famly }}";
        let error = render(text).unwrap_err();
        assert!(error.message.contains("undefined"), "{error:?}");
        assert!(text[error.range.unwrap()].contains("famly"));
    }

    #[test]
    fn explosions_run_out_of_fuel() {
        let error = render("{{ ('x' * 1000000) * 1000000 }}").unwrap_err();
        assert!(error.message.contains("fuel") || error.message.contains("limit"), "{error:?}");
        assert!(render("{{ range(100000000) }}").is_err(), "no functions are there");
    }

    #[test]
    fn names_are_dotted() {
        let engine = Engine::new();
        let names = engine.names("{{ params.a }}{{ worker | tojson }}").unwrap();
        assert_eq!(names, BTreeSet::from(["params.a".to_owned(), "worker".to_owned()]));
        let names = engine.expression_names("os.family == 'debian' and cpus >= 4").unwrap();
        assert_eq!(names, BTreeSet::from(["os.family".to_owned(), "cpus".to_owned()]));
    }

    #[test]
    fn when_is_an_expression() {
        let context = context! { os => context! { family => "debian" }, cpus => 8 };
        assert!(Engine::new().holds("os.family == 'debian' and cpus >= 4", &context).unwrap());
        assert!(Engine::new().holds("os.family ==", &context).is_err());
    }
}
