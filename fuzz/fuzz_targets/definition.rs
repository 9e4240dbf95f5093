//! Any bytes as a definition, in every layer: no panic, no half-read policy, and an untrusted
//! project never permits what does not hold without it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_model::provenance::Layer;
use ringfence_policy::{
    CommandLine, Compiled, DefinitionText, Facts, Found, FoundKind, Host, Inputs, Unresolved,
    check, compile,
};
use std::path::Path;

struct PlainHost;

impl Host for PlainHost {
    fn resolve(&self, path: &Path) -> Result<Found, Unresolved> {
        Ok(Found {
            path: path.to_owned(),
            kind: FoundKind::Directory,
        })
    }
}

fn compiled(bytes: &[u8], layer: Layer) -> Option<Compiled> {
    let facts = Facts {
        home: "/home/ann".into(),
        cwd: "/code/p".into(),
        workspace: "/code/p".into(),
        state: "/home/ann/.local/state/ringfence".into(),
        config: "/home/ann/.config/ringfence".into(),
        binary: "/opt/rf/ringfence".into(),
        memory: 16 << 30,
        now_unix: 1_800_000_000,
    };
    let text = Some(DefinitionText {
        file: Path::new("/code/p/ringfence.toml"),
        bytes,
    });
    let own = |wanted| if layer == wanted { text } else { None };
    compile(&Inputs {
        organisation: own(Layer::Organisation),
        user: own(Layer::User),
        project: own(Layer::Project),
        project_trusted: false,
        command_line: &CommandLine::default(),
        facts: &facts,
        host: &PlainHost,
    })
    .ok()
}

fuzz_target!(|bytes: &[u8]| {
    let text = DefinitionText {
        file: Path::new("x"),
        bytes,
    };
    for layer in [Layer::Organisation, Layer::User, Layer::Project] {
        let checked = check(&text, layer);
        if let Err(problems) = &checked {
            assert!(!problems.0.is_empty());
            let _ = problems.to_string();
        }
        let Some(own) = compiled(bytes, layer) else {
            continue;
        };
        assert!(checked.is_ok(), "compiled, but did not check");
        assert!(own.is_intact());
        let stored = serde_json_round_trip(&own);
        assert_eq!(stored, own);
        let _ = own.cedar();
        if layer != Layer::User {
            assert_eq!(own.permits().count(), 0);
            assert!(own.files.is_empty() && own.publish.is_empty());
            assert!(own.workspace.unprotect.is_empty() && !own.debug.value);
        }
    }
});

fn serde_json_round_trip(own: &Compiled) -> Compiled {
    let text = serde_json::to_string(own).expect("plain data");
    serde_json::from_str(&text).expect("what was written")
}
