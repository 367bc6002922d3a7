//! What naga's WGSL writer cannot write: values that depend on `override`s outside of functions.

use super::declarations;
use crate::error::{Error, Result};
use naga::{ArraySize, Expression, Handle, Literal, Module, TypeInner, UnaryOperator};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// First number that stands for the length of an array. Its text has no suffix, unlike any number
/// of the shader's own of that size.
const LENGTHS: u32 = 0xfff0_0000;

/// What depends on `override`s outside of functions, which naga's writer cannot write: it is taken
/// out of the module and put into the text.
#[derive(Default)]
pub(super) struct Deferred {
    /// Initial values by name of the `override`.
    values: BTreeMap<String, String>,
    /// Array lengths by the number that stands for them.
    pub(super) lengths: BTreeMap<String, String>,
}

impl Deferred {
    /// Takes it out of a module whose names are final.
    pub(super) fn take(file: &str, module: &mut Module) -> Result<Self> {
        let refuse = |what| Err(Error::Bundle(format!("{file}: {what} cannot be written again")));
        if module.entry_points.iter().any(|entry| entry.workgroup_size_overrides.is_some()) {
            return refuse("a workgroup size that depends on an `override`");
        }
        let mut inits = module.global_variables.iter().filter_map(|(_, variable)| variable.init);
        if !inits.all(|init| is_plain(module, init)) {
            return refuse("a variable whose first value depends on an `override`");
        }
        let mut deferred = Self::default();
        for (_, constant) in module.overrides.iter() {
            let (Some(name), Some(init)) = (&constant.name, constant.init) else { continue };
            let Some(value) = constant_text(module, init) else {
                return refuse("the first value of an `override`");
            };
            deferred.values.insert(name.clone(), value);
        }
        for (_, constant) in module.overrides.iter_mut() {
            constant.init = None;
        }
        let types = module.types.iter().map(|(handle, ty)| (handle, ty.clone()));
        for ((handle, mut ty), number) in types.collect::<Vec<_>>().into_iter().zip(LENGTHS..) {
            let TypeInner::Array { size, .. } = &mut ty.inner else { continue };
            let ArraySize::Pending(length) = *size else { continue };
            let Some(name) = module.overrides[length].name.clone() else { continue };
            deferred.lengths.insert(number.to_string(), name);
            *size = ArraySize::Constant(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX));
            module.types.replace(handle, ty);
        }
        Ok(deferred)
    }

    /// The declarations of a written module, complete.
    pub(super) fn put_back(&self, text: &str) -> Vec<String> {
        let complete = |declaration: &str| {
            let words = declaration.split("override ").nth(1);
            let name = words.and_then(|words| words.split(':').next());
            match name.and_then(|name| self.values.get(name)) {
                Some(value) => format!("{} = {value};", declaration.trim_end_matches(';')),
                None => declaration.to_owned(),
            }
        };
        declarations(text).into_iter().map(complete).collect()
    }
}

/// Whether naga's writer can write a global expression.
fn is_plain(module: &Module, expression: Handle<Expression>) -> bool {
    match &module.global_expressions[expression] {
        Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => true,
        Expression::Compose { components, .. } => components.iter().all(|c| is_plain(module, *c)),
        Expression::Splat { value, .. } => is_plain(module, *value),
        _ => false,
    }
}

/// A scalar expression of constants and `override`s; none where it has anything else in it.
fn constant_text(module: &Module, expression: Handle<Expression>) -> Option<String> {
    Some(match module.global_expressions[expression] {
        Expression::Literal(Literal::U32(value)) => format!("{value}u"),
        Expression::Literal(Literal::I32(value)) => format!("i32({value})"),
        Expression::Literal(Literal::F32(value)) => format!("{value:?}f"),
        Expression::Literal(Literal::Bool(value)) => value.to_string(),
        Expression::Constant(handle) => match &module.constants[handle] {
            constant if constant.name.is_some() => constant.name.clone()?,
            constant => constant_text(module, constant.init)?,
        },
        Expression::Override(handle) => module.overrides[handle].name.clone()?,
        Expression::Unary { op, expr } => {
            let sign = match op {
                UnaryOperator::Negate => '-',
                UnaryOperator::LogicalNot => '!',
                UnaryOperator::BitwiseNot => '~',
            };
            format!("{sign}({})", constant_text(module, expr)?)
        }
        Expression::Binary { op, left, right } => {
            let (left, right) = (constant_text(module, left)?, constant_text(module, right)?);
            format!("({left} {} {right})", naga::back::binary_operation_str(op))
        }
        _ => return None,
    })
}
