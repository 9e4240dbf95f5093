//! Places that a variable of the host may have moved: a package cache, the home of a tool manager.

use std::path::{Path, PathBuf};

/// Ways to find a place, best first: `$NAME`, `$NAME/rest` or `~/rest`.
pub(super) type Template = &'static [&'static str];

/// Where a place is.
pub(super) struct Found {
    /// The path, not looked at.
    pub path: PathBuf,
    /// The variable that moved it.
    pub variable: Option<&'static str>,
}

/// The home and the variables of the host.
pub(super) struct Places<'a> {
    /// The user's home.
    pub home: &'a Path,
    /// Reads one host variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Places<'_> {
    /// The place itself; the first way that says something counts, as for the tools themselves.
    pub fn resolve(&self, template: Template) -> Option<Found> {
        template.iter().find_map(|way| match way.strip_prefix('$') {
            Some(way) => {
                let (name, rest) = way.split_once('/').unwrap_or((way, ""));
                let path = self.absolute(name)?.join(rest);
                Some(Found { path: tidy(&path), variable: Some(name) })
            }
            None => Some(Found { path: self.default(way), variable: None }),
        })
    }

    /// Where the place would be without any variable.
    pub fn unmoved(&self, template: Template) -> Option<PathBuf> {
        template.iter().rfind(|way| way.starts_with('~')).map(|way| self.default(way))
    }

    fn default(&self, way: &str) -> PathBuf {
        self.home.join(way.strip_prefix("~/").unwrap_or(way))
    }

    /// A variable that holds one absolute path; of a list the first.
    pub fn absolute(&self, name: &str) -> Option<PathBuf> {
        let value = (self.variable)(name)?;
        let first = value.split(':').next().unwrap_or_default();
        let path = PathBuf::from(first);
        (path.is_absolute() && path.components().count() > 1).then(|| tidy(&path))
    }
}

/// Without `.` and trailing slashes.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_way_that_says_something_counts() {
        let read = |name: &str| match name {
            "XDG_CACHE_HOME" => Some("/srv/cache/".to_owned()),
            "GOPATH" => Some("/srv/go:/opt/go".to_owned()),
            "CARGO_HOME" => Some("relative".to_owned()),
            "UV_CACHE_DIR" => Some("/".to_owned()),
            _ => None,
        };
        let places = Places { home: Path::new("/home/ada"), variable: &read };
        let at = |template: Template| places.resolve(template).unwrap().path;
        assert_eq!(
            at(&["$PIP_CACHE_DIR", "$XDG_CACHE_HOME/pip", "~/.cache/pip"]),
            Path::new("/srv/cache/pip")
        );
        assert_eq!(at(&["$GOPATH/bin", "~/go/bin"]), Path::new("/srv/go/bin"));
        assert_eq!(at(&["$CARGO_HOME", "~/.cargo"]), Path::new("/home/ada/.cargo"));
        assert_eq!(at(&["$UV_CACHE_DIR", "~/.cache/uv"]), Path::new("/home/ada/.cache/uv"));
        let unmoved = places.unmoved(&["$XDG_CACHE_HOME/pip", "~/.cache/pip"]);
        assert_eq!(unmoved.as_deref(), Some(Path::new("/home/ada/.cache/pip")));
    }
}
