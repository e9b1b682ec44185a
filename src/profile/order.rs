//! The order of applying: `early` resources as written, then repositories, then one transaction for the packages of all
//! layers, then everything else as written; all that first for the `provision` phase and then for `bind`.

use crate::resolve::Planned;
use crate::resource::{Packages, Resource};
use crate::scope::Phase;

/// What is checked and applied at once: one resource, or the packages of several.
#[derive(Debug)]
pub struct Step {
    /// The wanted state; packages of several resources are put together.
    pub resource: Resource,
    /// The resources it stands for; never empty.
    pub planned: Vec<Planned>,
}

/// Puts resources in the order of applying.
pub fn steps(resources: &[Planned]) -> Vec<Step> {
    [Phase::Provision, Phase::Bind].into_iter().flat_map(|phase| steps_of(phase, resources)).collect()
}

fn steps_of(phase: Phase, resources: &[Planned]) -> Vec<Step> {
    let here = || resources.iter().filter(|planned| planned.phase == phase);
    let timely = || here().filter(|planned| !planned.early);
    let is_repository = |planned: &&Planned| matches!(planned.resource, Resource::Repository(_));
    let is_package = |planned: &&Planned| matches!(planned.resource, Resource::Packages(_));
    let early = here().filter(|planned| planned.early).map(alone);
    let repositories = timely().filter(is_repository).map(alone);
    let packages: Vec<Planned> = timely().filter(is_package).cloned().collect();
    let rest = timely().filter(|planned| !is_repository(planned) && !is_package(planned)).map(alone);
    early.chain(repositories).chain(together(packages)).chain(rest).collect()
}

fn alone(planned: &Planned) -> Step {
    Step { resource: planned.resource.clone(), planned: vec![planned.clone()] }
}

fn together(planned: Vec<Planned>) -> Option<Step> {
    let packages = planned.iter().filter_map(|planned| match &planned.resource {
        Resource::Packages(packages) => Some(packages),
        _ => None,
    });
    let resource = Resource::Packages(Packages::together(packages));
    (!planned.is_empty()).then_some(Step { resource, planned })
}
