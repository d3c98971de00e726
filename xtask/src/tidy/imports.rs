//! Which file of a crate uses which other file of it, and by which names.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Field, ImplItemFn, Item, ItemFn, Macro, Meta, PatIdent, Signature, TraitItemFn};

use super::modules::{ModuleId, Modules, Target, attributes, imports, is_for_tests, is_reexport};

/// Names that tie one file to another: (user, used) → names.
pub(super) type Edges = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

/// Adds what the files of a crate use of each other. The crate's root declares modules and is left out.
pub(super) fn collect(root: &Path, edges: &mut Edges) -> Result<()> {
    let modules = Modules::read(root)?;
    for (module, content) in modules.iter() {
        let mut visitor = Uses { modules: &modules, module, edges, locals: HashSet::new() };
        content.items.iter().for_each(|item| visitor.visit_item(item));
    }
    edges.retain(|(user, used), _| user != root && used != root);
    Ok(())
}

/// Finds the paths in one module.
struct Uses<'a> {
    modules: &'a Modules,
    module: ModuleId,
    edges: &'a mut Edges,
    /// Variables of the function being read: a variable can have the name of an item.
    locals: HashSet<String>,
}

impl Uses<'_> {
    /// Notes what a path leads to. A module by itself is not used, only what is in it.
    fn note(&mut self, path: &[String]) {
        if let [name] = path
            && (name == "Self" || self.locals.contains(name))
        {
            return;
        }
        for target in self.modules.resolve(self.module, path) {
            if let Target::Item(module, name) = target {
                self.add_edge(module, name);
            }
        }
    }

    fn add_edge(&mut self, to: ModuleId, name: String) {
        let (user, used) = (self.modules.file(self.module), self.modules.file(to));
        if user != used {
            self.edges.entry((user.to_owned(), used.to_owned())).or_default().insert(name);
        }
    }

    /// Notes the paths among the tokens of a macro or an attribute.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) => {
                    let before = at.checked_sub(1);
                    let is_member = before.is_some_and(|before| {
                        is(before, '.') && !(before > 0 && is(before - 1, '.')) || is(before, '\'')
                    });
                    let is_variable = before.is_some_and(|before| is(before, '$')) && first != "crate";
                    let is_absolute =
                        before.is_some_and(|before| is(before, ':') && before > 0 && is(before - 1, ':'));
                    let mut path = vec![first.to_string()];
                    while is(at + 1, ':')
                        && is(at + 2, ':')
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    let is_call = is(at + 1, '!')
                        || matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    let is_type = path[0].starts_with(char::is_uppercase);
                    if !is_member && !is_variable && !is_absolute && (path.len() > 1 || is_type || is_call) {
                        self.note(&path);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Notes the paths that derive macros read from text: `#[serde(with = "crate::nanos")]`.
    fn scan_text(&mut self, tokens: TokenStream) {
        let mut key = String::new();
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.scan_text(group.stream()),
                TokenTree::Ident(ident) => key = ident.to_string(),
                TokenTree::Literal(literal) => {
                    let literal = literal.to_string();
                    let text = literal.trim_matches('"');
                    let is_name = |word: &str| {
                        !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_')
                    };
                    let path: Vec<String> = text.split("::").map(str::to_owned).collect();
                    let is_path = literal.starts_with('"') && path.iter().all(|word| is_name(word));
                    if is_path && (path.len() > 1 || key == "with") {
                        for target in self.modules.resolve(self.module, &path) {
                            let (Target::Module(module) | Target::Item(module, _)) = target;
                            self.add_edge(module, text.to_owned());
                        }
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// Reads a function with its own set of variables.
    fn function(&mut self, signature: &Signature, body: Option<&Block>) {
        let mut variables = Variables(HashSet::new());
        variables.visit_signature(signature);
        if let Some(body) = body {
            variables.visit_block(body);
        }
        let outer = std::mem::replace(&mut self.locals, variables.0);
        self.visit_signature(signature);
        if let Some(body) = body {
            self.visit_block(body);
        }
        self.locals = outer;
    }
}

impl Visit<'_> for Uses<'_> {
    fn visit_item(&mut self, item: &Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        if let Item::Use(item) = item {
            if !is_reexport(&item.vis) && item.leading_colon.is_none() {
                for import in imports(&item.tree) {
                    self.note(&import.path);
                }
            }
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        self.function(&item.sig, Some(&item.block));
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
            self.function(&item.sig, Some(&item.block));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &TraitItemFn) {
        self.function(&item.sig, item.default.as_ref());
    }

    fn visit_field(&mut self, field: &Field) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        match &attribute.meta {
            Meta::List(list) => {
                self.scan(list.tokens.clone());
                self.scan_text(list.tokens.clone());
            }
            Meta::Path(_) | Meta::NameValue(_) => {}
        }
    }

    fn visit_macro(&mut self, found: &Macro) {
        self.visit_path(&found.path);
        self.scan(found.tokens.clone());
    }

    fn visit_path(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() {
            let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.note(&names);
        }
        visit::visit_path(self, path);
    }
}

/// Collects the variables of a function.
struct Variables(HashSet<String>);

impl Visit<'_> for Variables {
    fn visit_pat_ident(&mut self, pattern: &PatIdent) {
        let name = pattern.ident.to_string();
        // A constant or a unit variant looks like a variable.
        if name.starts_with(char::is_lowercase) {
            self.0.insert(name);
        }
        visit::visit_pat_ident(self, pattern);
    }
}
