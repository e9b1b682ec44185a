//! From a document, or the name of a profile, to the resources that this machine is to have.

use anyhow::Result;
use loitsut_profile::facts::{Binding, Facts, Instance};
use loitsut_profile::library::Library;
use loitsut_profile::param::Overrides;
use loitsut_profile::resolve::{Request, Resolved, resolve};
use loitsut_profile::show::{Shown, show};
use loitsut_profile::userdata::Document;

use crate::host::Host;
use crate::metadata::Identity;

/// What is to be resolved.
pub struct Wanted<'a> {
    /// Name of the profile.
    pub profile: &'a str,
    /// Values from outside it.
    pub overrides: Overrides,
    /// The launch, if it is known.
    pub binding: Option<Binding>,
    /// Who this instance is.
    pub instance: Instance,
}

impl<'a> Wanted<'a> {
    /// By a document: everything.
    pub fn by_document(document: &'a Document, identity: &Identity) -> Self {
        let overrides = Overrides { user_data: document.params.0.clone(), ..Overrides::default() };
        let binding = Some(Binding::of(document));
        Self { profile: document.profile.as_str(), overrides, binding, instance: instance(identity) }
    }

    /// By the name of a profile: what can be done before the launch is known.
    pub fn by_name(profile: &'a str) -> Self {
        Self { profile, overrides: Overrides::default(), binding: None, instance: Instance::default() }
    }

    /// Resolves it; from now on no output shows the secrets in it.
    ///
    /// # Errors
    /// Everything that is wrong with the profile, its layers and the values given to it.
    pub fn resolve(&self, host: &Host, library: &Library) -> Result<Resolved> {
        let facts = host.facts(self.instance.clone())?;
        let resolved = resolve(&self.request(library, &facts))?;
        host.hide(&resolved.secrets);
        Ok(resolved)
    }

    /// Resolves it to be looked at.
    ///
    /// # Errors
    /// As of [`Wanted::resolve`].
    pub fn show(&self, host: &Host, library: &Library) -> Result<Shown> {
        Ok(show(&self.request(library, &host.facts(self.instance.clone())?))?)
    }

    fn request<'r>(&'r self, library: &'r Library, facts: &'r Facts) -> Request<'r> {
        let (profile, overrides) = (self.profile, &self.overrides);
        Request { library, profile, overrides, facts, binding: self.binding.as_ref() }
    }
}

fn instance(identity: &Identity) -> Instance {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Instance {
        id: identity.instance_id.clone(),
        kind: text(&identity.instance_type),
        region: text(&identity.region),
        zone: text(&identity.availability_zone),
        image: text(&identity.image_id),
        address: text(&identity.private_ip),
    }
}
