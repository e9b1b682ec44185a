//! Two resources that want one thing differently.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::resource::Resource;
use crate::source::Place;

/// Every conflict between resources that can hold at the same time: those with an equal `when`, or of which one has
/// none. Once `when` is decided, none is given.
pub(crate) fn between<'a>(
    resources: impl Iterator<Item = (&'a Resource, Option<&'a str>, &'a Place)>,
) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut wants: BTreeMap<(String, &str), Vec<(String, Option<&str>, &Place)>> = BTreeMap::new();
    for (resource, when, place) in resources {
        for claim in resource.claims() {
            let others = wants.entry((claim.subject.clone(), claim.aspect)).or_default();
            let meets =
                |other: &&(String, Option<&str>, &Place)| when.is_none() || other.1.is_none() || when == other.1;
            if let Some((value, _, first)) = others.iter().filter(meets).find(|(value, ..)| *value != claim.value) {
                let known =
                    |d: &Diagnostic| d.place.as_ref() == Some(place) && d.related.iter().any(|(p, _)| p == *first);
                if !found.iter().any(known) {
                    found.push(report(&claim.subject, claim.aspect, (&claim.value, place), (value, first)));
                }
            }
            others.push((claim.value, when, place));
        }
    }
    found
}

fn report(subject: &str, aspect: &str, second: (&str, &Place), first: (&str, &Place)) -> Diagnostic {
    Diagnostic::at(second.1.clone(), format!("conflict: two resources want {subject} differently"))
        .label(format!("{aspect}: {}", short(second.0)))
        .related(first.1.clone(), format!("{aspect}: {}", short(first.0)))
        .help("leave one of them out, make them alike, or let a `when` keep them apart")
}

/// Values may be long; digests of contents say enough by their beginning.
fn short(value: &str) -> String {
    let one_line = value.lines().next().unwrap_or_default();
    if one_line.len() < value.len() || one_line.chars().count() > 40 {
        return format!("{}…", one_line.chars().take(16).collect::<String>());
    }
    one_line.to_owned()
}
