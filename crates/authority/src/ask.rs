//! A request in Cedar's terms. Pure conversion: no rule is looked at here.
//!
//! The shape is the schema's in `ringfence_policy::cedar`; what a request does not say is absent,
//! never a default that a rule could match.

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request as Question,
    RestrictedExpression as Value,
};
use ringfence_model::address::{classify, embedded_v4};
use ringfence_model::request::{Action, Endpoint, Protocol, Request, Resource};
use ringfence_policy::Compiled;
use ringfence_policy::cedar::path_id;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use crate::{AuthorityError, Now};

/// Names that every question uses, parsed once.
pub(crate) struct Vocabulary {
    run: EntityUid,
    path: EntityTypeName,
    endpoint: EntityTypeName,
    port: EntityTypeName,
    variable: EntityTypeName,
    action: EntityTypeName,
}

fn type_name(text: &str) -> Result<EntityTypeName, AuthorityError> {
    EntityTypeName::from_str(text).map_err(AuthorityError::engine)
}

impl Vocabulary {
    pub fn new() -> Result<Self, AuthorityError> {
        Ok(Self {
            run: EntityUid::from_type_name_and_id(type_name("Run")?, EntityId::new("this")),
            path: type_name("Path")?,
            endpoint: type_name("Endpoint")?,
            port: type_name("Port")?,
            variable: type_name("Variable")?,
            action: type_name("Action")?,
        })
    }

    fn path_uid(&self, path: &Path) -> EntityUid {
        EntityUid::from_type_name_and_id(self.path.clone(), EntityId::new(path_id(path)))
    }

    /// The question and the one entity that it is about.
    pub fn question(
        &self,
        policy: &Compiled,
        request: &Request,
        now: Now,
    ) -> Result<(Question, Entities), AuthorityError> {
        let entity = self.resource(policy, request)?;
        let id = EntityId::new(request.action.name());
        let action = EntityUid::from_type_name_and_id(self.action.clone(), id);
        let question =
            Question::new(self.run.clone(), action, entity.uid(), context(request, now)?, None)
                .map_err(AuthorityError::engine)?;
        let entities = Entities::from_entities([entity], None).map_err(AuthorityError::engine)?;
        Ok((question, entities))
    }

    fn resource(&self, policy: &Compiled, request: &Request) -> Result<Entity, AuthorityError> {
        let plain = |kind: &EntityTypeName, id: String| {
            let uid = EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
            Ok(Entity::new_no_attrs(uid, HashSet::new()))
        };
        match (&request.resource, request.action) {
            (Resource::Path(path), Action::Read | Action::Write) => self.path_entity(policy, path),
            (Resource::Endpoint(endpoint), Action::Resolve | Action::Connect) => {
                self.endpoint_entity(endpoint)
            }
            (Resource::Port(port), Action::Publish) => plain(&self.port, port.to_string()),
            (Resource::Variable(name), Action::Environment) => plain(&self.variable, name.clone()),
            _ => Err(AuthorityError::Shape { action: request.action }),
        }
    }

    fn path_entity(&self, policy: &Compiled, path: &Path) -> Result<Entity, AuthorityError> {
        let hidden = policy.hidden_by(path).into_iter();
        let ids = hidden.filter_map(|at| Some(policy.denies.get(at)?.id.clone()));
        let hidden = Value::new_set(ids.map(Value::new_string));
        let parents = path.ancestors().skip(1).map(|parent| self.path_uid(parent));
        Entity::new(
            self.path_uid(path),
            HashMap::from([("hidden".to_owned(), hidden)]),
            parents.collect(),
        )
        .map_err(AuthorityError::engine)
    }

    fn endpoint_entity(&self, endpoint: &Endpoint) -> Result<Entity, AuthorityError> {
        let mut attributes = HashMap::with_capacity(7);
        let mut put = |name: &str, value: Value| attributes.insert(name.to_owned(), value);
        let text = |text: &str| Value::new_string(text.to_owned());
        if let Some(name) = &endpoint.name {
            put("host", text(name.as_str()));
        }
        if let Some(claimed) = &endpoint.claimed {
            put("claimed", text(claimed.as_str()));
        }
        let via = if endpoint.name.is_some() { "name" } else { "address" };
        put("via", text(via));
        let mut class = "unknown".to_owned();
        if let Some(address) = endpoint.address {
            // A v4-mapped address is dialled as the IPv4 address that it is.
            put("address", Value::new_ip(address.to_canonical().to_string()));
            if let IpAddr::V6(v6) = address.to_canonical()
                && let Some(v4) = embedded_v4(v6)
            {
                put("embedded", Value::new_ip(v4.to_string()));
            }
            class = classify(address).to_string();
        }
        put("class", Value::new_string(class));
        put("port", Value::new_long(i64::from(endpoint.port)));
        let uid = EntityUid::from_type_name_and_id(self.endpoint.clone(), EntityId::new("asked"));
        Entity::new(uid, attributes, HashSet::new()).map_err(AuthorityError::engine)
    }
}

fn context(request: &Request, now: Now) -> Result<Context, AuthorityError> {
    let protocol = match request.context.protocol {
        Protocol::Unknown => "unknown",
        Protocol::Tls => "tls",
        Protocol::Http => "http",
        Protocol::Opaque => "opaque",
    };
    let elapsed = i64::try_from(now.elapsed_ms).unwrap_or(i64::MAX);
    let pairs = [
        ("elapsed_ms", Value::new_long(elapsed)),
        ("unix", Value::new_long(now.unix_s)),
        ("protocol", Value::new_string(protocol.to_owned())),
        ("again", Value::new_bool(request.context.again)),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
    Context::from_pairs(pairs).map_err(AuthorityError::engine)
}
