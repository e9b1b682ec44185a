//! The one language of `{{ … }}` and `when`: minijinja with strict undefined, bounded; only `{{ }}` is special.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Expression, Template, UndefinedBehavior, Value};

/// Bounds one rendering in time and, at about 64 bytes each, in size: 3 MiB.
const FUEL: u64 = 50_000;

/// Bounds all renderings of an engine together.
const MOST_RENDERED: usize = 8 << 20;

/// The parser takes a stack frame for every `not` of an expression: this many fit on any stack.
const LONGEST_EXPRESSION: usize = 2048;

/// Blocks and comments get delimiters that no text has, so that shell's `${#x}` and `{%` stay as they are.
const NEVER_WRITTEN: char = '\u{1}';

/// What is wrong with a template or `when`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// In a few words that quote no value.
    pub(crate) problem: String,
    /// More of it; may quote a value.
    pub(crate) detail: Option<String>,
    /// The part of the template that it is about, where that is known.
    pub(crate) range: Option<Range<usize>>,
}

impl TemplateError {
    fn new(problem: impl Into<String>, range: Option<Range<usize>>) -> Self {
        Self { problem: problem.into(), detail: None, range }
    }
}

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        let detail = error.detail().map(str::to_owned);
        Self { problem: error.kind().to_string(), detail, range: error.range() }
    }
}

/// Renders templates and evaluates `when`.
pub(crate) struct Engine {
    environment: Environment<'static>,
    /// How many bytes may still be rendered.
    left: Cell<usize>,
}

impl Engine {
    pub(crate) fn new() -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // Errors know their range only then.
        environment.set_debug(true);
        let syntax = SyntaxConfig::builder()
            .block_delimiters("\u{1}{%", "%}\u{1}")
            .comment_delimiters("\u{1}{#", "#}\u{1}")
            .keep_trailing_newline(true)
            .build()?;
        environment.set_syntax(syntax);
        let globals: Vec<String> = environment.globals().map(|(name, _)| name.to_owned()).collect();
        for name in globals {
            environment.remove_global(&name);
        }
        Ok(Self { environment, left: Cell::new(MOST_RENDERED) })
    }

    /// Whether a text has anything to render.
    pub(crate) fn is_template(text: &str) -> bool {
        text.contains("{{")
    }

    /// The variables that a template asks for, dotted: `os.family`, `params.branch`, `worker`.
    pub(crate) fn names(&self, text: &str) -> Result<BTreeSet<String>, TemplateError> {
        Ok(self.template(text)?.undeclared_variables(true).into_iter().collect())
    }

    /// The variables that a `when` asks for.
    pub(crate) fn expression_names(&self, text: &str) -> Result<BTreeSet<String>, TemplateError> {
        Ok(self.expression(text)?.undeclared_variables(true).into_iter().collect())
    }

    /// The text with its values; only those exist that [`Engine::names`] finds.
    pub(crate) fn render(&self, text: &str, context: &Value) -> Result<String, TemplateError> {
        let template = self.template(text)?;
        let names = template.undeclared_variables(true).into_iter().collect();
        let rendered = template.render(part_of(context, &names)?)?;
        let left = self.left.get().checked_sub(rendered.len());
        self.left.set(left.ok_or_else(|| {
            TemplateError::new(format!("all templates together make more than {MOST_RENDERED} bytes"), None)
        })?);
        Ok(rendered)
    }

    /// Whether a `when` holds; only those values exist that [`Engine::expression_names`] finds.
    pub(crate) fn holds(&self, text: &str, context: &Value) -> Result<bool, TemplateError> {
        let expression = self.expression(text)?;
        let names = expression.undeclared_variables(true).into_iter().collect();
        let value = expression.eval(part_of(context, &names)?)?;
        if value.is_undefined() {
            return Err(TemplateError::new(ErrorKind::UndefinedError.to_string(), Some(0..text.len())));
        }
        Ok(value.is_true())
    }

    fn template<'t>(&self, text: &'t str) -> Result<Template<'_, 't>, TemplateError>
    where
        Self: 't,
    {
        check(text, &expressions(text))?;
        Ok(self.environment.template_from_str(text)?)
    }

    fn expression<'t>(&'t self, text: &'t str) -> Result<Expression<'t, 't>, TemplateError> {
        check(text, std::slice::from_ref(&(0..text.len())))?;
        Ok(self.environment.compile_expression(text)?)
    }
}

fn check(text: &str, expressions: &[Range<usize>]) -> Result<(), TemplateError> {
    if let Some(at) = text.find(NEVER_WRITTEN) {
        return Err(TemplateError::new("the character U+0001 cannot be in a template", Some(at..at + 1)));
    }
    match expressions.iter().find(|expression| expression.len() > LONGEST_EXPRESSION) {
        Some(long) => Err(TemplateError::new(
            format!("an expression is longer than {LONGEST_EXPRESSION} bytes"),
            Some(long.start..long.start),
        )),
        None => Ok(()),
    }
}

/// The part of a context that was asked for by name. What the search for names overlooks is undefined, instead of a
/// value that nobody has checked.
fn part_of(context: &Value, names: &BTreeSet<String>) -> Result<Value, TemplateError> {
    let mut whole = BTreeMap::new();
    let mut fields: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for name in names {
        match name.split_once('.') {
            None => drop(whole.insert(name.as_str(), context.get_attr(name)?)),
            Some((root, field)) => {
                let value = context.get_attr(root)?.get_attr(field)?;
                fields.entry(root).or_default().insert(field, value);
            }
        }
    }
    let parts = fields.into_iter().map(|(root, fields)| (root, Value::from_pairs(fields)));
    Ok(Value::from_pairs(parts.chain(whole)))
}

/// The stretches of a template that are expressions: between `{{` and `}}`, as minijinja's lexer has it.
pub(crate) fn expressions(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut position = 0;
    while let Some(start) = text[position..].find("{{").map(|at| position + at + 2) {
        let end = start + expression_length(&text.as_bytes()[start..]);
        found.push(start..end);
        position = (end + 2).min(text.len());
    }
    found
}

fn expression_length(text: &[u8]) -> usize {
    let (mut depth, mut quote, mut at) = (0, None, 0);
    while at < text.len() {
        match (quote, text[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, b'}') if depth == 0 && text.get(at + 1) == Some(&b'}') => return at,
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') => depth -= 1,
            (None, open @ (b'\'' | b'"')) => quote = Some(open),
            (None, _) => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn render(text: &str) -> Result<String, TemplateError> {
        Engine::new()?.render(text, &context! { os => context! { family => "debian" }, cpus => 8 })
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
        assert!(error.problem.contains("undefined"), "{error:?}");
        assert!(text[error.range.unwrap()].contains("famly"));
    }

    #[test]
    fn explosions_run_out_of_fuel() {
        let error = render("{{ ('x' * 1000000) * 1000000 }}").unwrap_err();
        assert!(error.problem.contains("fuel") || error.problem.contains("limit"), "{error:?}");
        assert!(render("{{ range(100000000) }}").is_err(), "no functions are there");
    }

    #[test]
    fn names_are_dotted() {
        let engine = Engine::new().unwrap();
        let names = engine.names("{{ params.a }}{{ worker | tojson }}").unwrap();
        assert_eq!(names, BTreeSet::from(["params.a".to_owned(), "worker".to_owned()]));
        let names = engine.expression_names("os.family == 'debian' and cpus >= 4").unwrap();
        assert_eq!(names, BTreeSet::from(["os.family".to_owned(), "cpus".to_owned()]));
    }

    #[test]
    fn when_is_an_expression() {
        let context = context! { os => context! { family => "debian" }, cpus => 8 };
        assert!(Engine::new().unwrap().holds("os.family == 'debian' and cpus >= 4", &context).unwrap());
        assert!(Engine::new().unwrap().holds("os.family ==", &context).is_err());
    }

    /// What the parser nests without counting; each as long as it may be, and one longer.
    #[test]
    fn chains_are_refused_before_they_overflow_the_stack() {
        let engine = Engine::new().unwrap();
        for (link, end) in
            [("not ", "1"), ("-", "1"), ("1+", "1"), ("1 if 1 else ", "1"), ("1~", "1"), ("(", "1"), ("[", "1")]
        {
            let chain = |length: usize| link.repeat((length - end.len()) / link.len()) + end;
            let _ = engine.holds(&chain(LONGEST_EXPRESSION), &context! {});
            let _ = engine.render(&format!("{{{{{}}}}}", chain(LONGEST_EXPRESSION)), &context! {});
            let long = link.repeat(LONGEST_EXPRESSION) + end;
            for error in [
                engine.expression_names(&long).unwrap_err(),
                engine.names(&format!("{{{{ '}}}}' {long} }}}}")).unwrap_err(),
                engine.names(&format!("{{{{ {{'a': {{'b': 1}}}} {long} }}}}")).unwrap_err(),
            ] {
                assert!(error.problem.contains("longer than 2048"), "{error:?}");
            }
        }
        assert!(engine.names("\u{1}{% if not not 1 %}\u{1} {{ x }}").is_err(), "no blocks");
    }

    #[test]
    fn what_the_search_for_names_overlooks_is_undefined() {
        let engine = Engine::new().unwrap();
        let context = context! { worker => context! { password => "hunter2", name => "w" } };
        for text in ["{{ worker.password[0:] }}", "{{ worker.name }}{{ (worker.password)[:3] }}"] {
            assert!(engine.render(text, &context).is_err(), "{text}");
        }
        assert_eq!(engine.render("{{ worker.name }}", &context).unwrap(), "w");
    }

    #[test]
    fn all_renderings_together_are_bounded() {
        let engine = Engine::new().unwrap();
        let render = || engine.render("{{ 'x' * 1000000 }}", &context! {});
        assert_eq!((0..20).filter(|_| render().is_ok()).count(), 8);
    }

    #[test]
    fn a_condition_that_is_undefined_does_not_hold_by_mistake() {
        let context = context! { os => context! { version => "12" } };
        assert!(Engine::new().unwrap().holds("os.version.major", &context).is_err());
    }
}
