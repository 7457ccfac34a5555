//! The parts of containers, handed to serde one by one.

use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::fault::Fault;
use super::{Reader, identity};
use crate::manifest::node::{Key, Node};
use crate::manifest::path::{Path, spot};

/// The elements of a list that are not set aside.
pub(super) struct List<'de, 'p> {
    pub(super) reader: Reader<'de, 'p>,
    pub(super) list: &'de [Node],
    pub(super) next: usize,
}

impl<'de> SeqAccess<'de> for List<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        while let Some(node) = self.list.get(self.next) {
            let path = Path::Index(&self.reader.path, self.next);
            self.next += 1;
            if self.reader.context.set_aside.contains(&identity(node)) {
                continue;
            }
            let reader = Reader { node, path, context: self.reader.context };
            return seed.deserialize(reader).map(Some).map_err(|fault| fault.at(node, node.mark, &path));
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() - self.next)
    }
}

/// The entries of a mapping.
pub(super) struct Mapping<'de, 'p, I> {
    pub(super) reader: Reader<'de, 'p>,
    pub(super) entries: I,
    /// The entry whose key has been handed over.
    pub(super) value: Option<&'de (Key, Node)>,
}

impl<'de, I: Iterator<Item = &'de (Key, Node)>> MapAccess<'de> for Mapping<'de, '_, I> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.value = self.entries.next();
        match self.value {
            Some((key, _)) => seed.deserialize(key.text.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(serde::de::Error::custom("a value was asked for before its key"));
        };
        let path = Path::Key(&self.reader.path, &key.text);
        let reader = Reader { node, path, context: self.reader.context };
        seed.deserialize(reader).map_err(|fault| fault.at(node, spot(key, node), &path))
    }
}

/// A variant without content, the only kind that manifests have.
pub(super) struct Variant<'a>(pub(super) &'a str);

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        Ok((seed.deserialize(self.0.into_deserializer())?, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, _seed: T) -> Result<T::Value, Fault> {
        Err(serde::de::Error::custom("a plain name was expected"))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _len: usize, _visitor: V) -> Result<V::Value, Fault> {
        Err(serde::de::Error::custom("a plain name was expected"))
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Fault> {
        Err(serde::de::Error::custom("a plain name was expected"))
    }
}
