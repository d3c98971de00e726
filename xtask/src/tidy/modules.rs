//! Modules of a crate and the names in them, read from source text. Test modules are left out.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::{Attribute, Expr, Item, ItemMod, Lit, Meta, UseTree, Visibility};

/// Index of a module in [`Modules`].
pub(super) type ModuleId = usize;

/// All modules of one crate.
pub(super) struct Modules {
    modules: Vec<Module>,
}

/// One module, in a file of its own or inside another's file.
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) items: Vec<Item>,
    parent: ModuleId,
    names: HashMap<String, Vec<Name>>,
    /// Paths of `use path::*`.
    globs: Vec<Vec<String>>,
}

/// What a name in a module stands for.
enum Name {
    Module(ModuleId),
    Item,
    Import(Vec<String>),
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Module(ModuleId),
    /// An item, with the module that defines it.
    Item(ModuleId, String),
}

impl Modules {
    /// Reads a crate from its root file and follows the `mod` declarations.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut modules = Self { modules: Vec::new() };
        let folder = root.parent().context("a file has a folder")?;
        modules.add_file(root, folder, 0)?;
        Ok(modules)
    }

    /// Returns every module with its id. The first one is the crate's root.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate()
    }

    /// Returns the file that a module lies in.
    pub(super) fn file(&self, module: ModuleId) -> &Path {
        &self.modules[module].file
    }

    /// Returns everything that `path`, written in `module`, can stand for. Empty for names of other crates.
    pub(super) fn resolve(&self, module: ModuleId, path: &[String]) -> Vec<Target> {
        self.follow(module, path, &mut Vec::new())
    }

    fn follow<'a>(
        &'a self,
        from: ModuleId,
        path: &'a [String],
        seen: &mut Vec<(ModuleId, &'a str)>,
    ) -> Vec<Target> {
        let Some((first, mut rest)) = path.split_first() else { return Vec::new() };
        let mut found = match first.as_str() {
            "crate" => vec![Target::Module(0)],
            "self" => vec![Target::Module(from)],
            "super" => {
                let mut module = self.modules[from].parent;
                while let Some((_, more)) = rest.split_first().filter(|(next, _)| *next == "super") {
                    module = self.modules[module].parent;
                    rest = more;
                }
                vec![Target::Module(module)]
            }
            name => self.look_up(from, name, seen),
        };
        for name in rest {
            let mut next = Vec::new();
            for target in found {
                match target {
                    Target::Module(module) => {
                        let below = self.look_up(module, name, seen);
                        // A macro may have made a name that the text does not show.
                        let unknown = !self.modules[module].names.contains_key(name) && below.is_empty();
                        next.extend(below);
                        next.extend(unknown.then(|| Target::Item(module, name.clone())));
                    }
                    // Variants and associated items belong to their type.
                    item @ Target::Item(..) => next.push(item),
                }
            }
            found = next;
        }
        found
    }

    fn look_up<'a>(
        &'a self,
        module: ModuleId,
        name: &'a str,
        seen: &mut Vec<(ModuleId, &'a str)>,
    ) -> Vec<Target> {
        if seen.contains(&(module, name)) {
            return Vec::new();
        }
        seen.push((module, name));
        let mut found = Vec::new();
        let here = &self.modules[module];
        match here.names.get(name) {
            Some(meanings) => {
                for meaning in meanings {
                    match meaning {
                        Name::Module(module) => found.push(Target::Module(*module)),
                        Name::Item => found.push(Target::Item(module, name.to_owned())),
                        Name::Import(path) => found.extend(self.follow(module, path, seen)),
                    }
                }
            }
            None => {
                for glob in &here.globs {
                    for target in self.follow(module, glob, seen) {
                        if let Target::Module(module) = target {
                            found.extend(self.look_up(module, name, seen));
                        }
                    }
                }
            }
        }
        seen.pop();
        found
    }

    /// Adds the module of a file. The files of its own modules lie below `folder`.
    fn add_file(&mut self, file: &Path, folder: &Path, parent: ModuleId) -> Result<ModuleId> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        self.add(file, folder, parent, parsed.items)
    }

    fn add(&mut self, file: &Path, folder: &Path, parent: ModuleId, items: Vec<Item>) -> Result<ModuleId> {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            items: Vec::new(),
            parent,
            names: HashMap::new(),
            globs: Vec::new(),
        });
        let mut own = Vec::new();
        for item in items.into_iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(declared) => {
                    let name = declared.ident.to_string();
                    let child = self.add_declared(file, folder, id, declared)?;
                    self.name(id, name, Name::Module(child));
                }
                item => {
                    self.note_names(id, &item);
                    own.push(item);
                }
            }
        }
        self.modules[id].items = own;
        Ok(id)
    }

    fn add_declared(
        &mut self,
        file: &Path,
        folder: &Path,
        parent: ModuleId,
        declared: ItemMod,
    ) -> Result<ModuleId> {
        let name = declared.ident.to_string();
        let below = folder.join(&name);
        if let Some((_, items)) = declared.content {
            return self.add(file, &below, parent, items);
        }
        if let Some(path) = path_attribute(&declared.attrs) {
            let child = file.parent().unwrap_or(folder).join(path);
            let below = child.parent().unwrap_or(folder).to_owned();
            return self.add_file(&child, &below, parent);
        }
        let inside = below.join("mod.rs");
        let child = if inside.is_file() { inside } else { folder.join(format!("{name}.rs")) };
        self.add_file(&child, &below, parent)
    }

    /// Notes the names that an item brings into its module.
    fn note_names(&mut self, module: ModuleId, item: &Item) {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                let Some(ident) = &item.ident else { return };
                if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) && module > 0
                {
                    let defined = self.path_to(module, &ident.to_string());
                    self.name(0, ident.to_string(), Name::Import(defined));
                }
                ident
            }
            Item::ExternCrate(item) if item.ident == "self" => {
                if let Some((_, name)) = &item.rename {
                    self.name(module, name.to_string(), Name::Module(0));
                }
                return;
            }
            Item::Use(item) => {
                for import in imports(&item.tree) {
                    match import.name {
                        Some(name) => self.name(module, name, Name::Import(import.path)),
                        None => self.modules[module].globs.push(import.path),
                    }
                }
                return;
            }
            // Other items bring no name, or none that a path can use.
            _ => return,
        };
        self.name(module, ident.to_string(), Name::Item);
    }

    fn name(&mut self, module: ModuleId, name: String, meaning: Name) {
        self.modules[module].names.entry(name).or_default().push(meaning);
    }

    /// Returns the path from the root to a name in a module.
    fn path_to(&self, mut module: ModuleId, name: &str) -> Vec<String> {
        let mut path = vec![name.to_owned()];
        while module > 0 {
            let parent = self.modules[module].parent;
            let is_module = |meaning: &Name| matches!(meaning, Name::Module(id) if *id == module);
            let own = self.modules[parent].names.iter().find(|(_, meanings)| meanings.iter().any(is_module));
            path.extend(own.map(|(name, _)| name.clone()));
            module = parent;
        }
        path.push("crate".to_owned());
        path.reverse();
        path
    }
}

/// One name of a `use` item.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// The name it gets; `None` for `*`.
    pub(super) name: Option<String>,
}

/// Returns the single imports of a `use` item.
pub(super) fn imports(tree: &UseTree) -> Vec<Import> {
    fn walk(tree: &UseTree, prefix: &[String], found: &mut Vec<Import>) {
        let with = |name: String| [prefix, &[name]].concat();
        match tree {
            UseTree::Path(path) => walk(&path.tree, &with(path.ident.to_string()), found),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, prefix, found)),
            UseTree::Glob(_) => found.push(Import { path: prefix.to_owned(), name: None }),
            UseTree::Name(name) if name.ident == "self" => {
                found.push(Import { path: prefix.to_owned(), name: prefix.last().cloned() });
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                found.push(Import { path: with(name.clone()), name: Some(name) });
            }
            UseTree::Rename(name) => {
                let path =
                    if name.ident == "self" { prefix.to_owned() } else { with(name.ident.to_string()) };
                found.push(Import { path, name: Some(name.rename.to_string()) });
            }
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

/// Returns true for an item that only tests have: `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
        let condition = list.tokens.to_string();
        let words = || condition.split(|c: char| !c.is_alphanumeric() && c != '_');
        let all = condition.starts_with("all") && words().any(|word| word == "test");
        list.path.is_ident("cfg") && (condition == "test" || all && !words().any(|word| word == "not"))
    })
}

/// Returns true if a `use` item is a re-export.
pub(super) fn is_reexport(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).and_then(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(literal) = &pair.value else { return None };
        if let Lit::Str(text) = &literal.lit { Some(text.value()) } else { None }
    })
}

/// Returns the attributes of an item.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
