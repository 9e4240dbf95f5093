//! What the ledger says of a boundary: the whole plan, but no secret and no file content.

use ringfence_model::boundary::Boundary;
use serde_json::Value;

/// The plan as a value for the first record: variables by name only, made files by their digest.
pub fn manifest(boundary: &Boundary) -> Value {
    let mut value = serde_json::to_value(boundary).unwrap_or(Value::Null);
    if let Some(variables) = value.get_mut("environment") {
        let names: Vec<Value> =
            boundary.environment.keys().map(|name| Value::String(name.clone())).collect();
        *variables = Value::Array(names);
    }
    for mount in value.get_mut("mounts").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(content) = mount.get("content").and_then(Value::as_str) {
            let digest = ringfence_policy::digest(content.as_bytes());
            if let Some(object) = mount.as_object_mut() {
                object.remove("content");
                object.insert("sha256".to_owned(), Value::String(digest));
            }
        }
        // Device numbers do not fit the integers of canonical JSON on every file system.
        if let Some(object) = mount.as_object_mut() {
            object.remove("identity");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use ringfence_model::boundary::*;

    #[test]
    fn c14_values_of_variables_and_files_stay_out() {
        let boundary = Boundary {
            tier: Tier::Process,
            identity: Identity {
                inside_uid: 1,
                inside_gid: 1,
                outside_uid: 1,
                outside_gid: 1,
                owner: None,
                user: "a".into(),
                home: "/h".into(),
                hostname: "h".into(),
            },
            mounts: vec![Mount {
                target: "/etc/x".into(),
                kind: MountKind::File { content: "CANARY-FILE".into(), mode: 0o644 },
            }],
            workspace: Workspace {
                root: "/w".into(),
                mode: WorkspaceMode::Review,
                repository: None,
                placeholders: vec![],
            },
            network: Network { publish: vec![], named_ports: vec![], resolver: None },
            limits: Limits::default(),
            exec: ExecMode::Any,
            debug: false,
            floor: Floor { landlock: 1, cgroup: false },
            environment: [("KEY".to_owned(), "CANARY-VALUE".to_owned())].into(),
            cwd: "/w".into(),
            argv: vec!["true".into()],
            must_be_absent: vec![],
        };
        let text = super::manifest(&boundary).to_string();
        assert!(!text.contains("CANARY"));
        assert!(text.contains("\"KEY\"") && text.contains("sha256"));
    }
}
