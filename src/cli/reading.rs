//! From what was typed to what is asked for, of the verbs that read a backup.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::commands::request::{
    CatRequest, Depth, DiffRequest, ExportRequest, FindRequest, Form, LsRequest, ReadBy, ReadFrom, VerifyRequest,
};

use super::args::{CatVerb, DiffVerb, ExportVerb, FindVerb, LsVerb, ReadOptions, VerifyVerb};
use super::request::{Refused, Request, Typed};

impl Typed<'_> {
    fn read_by(&self, options: ReadOptions) -> ReadBy {
        ReadBy {
            pipeline: options.pipeline,
            targets: options.targets,
            identity: options.identity.map(|path| self.folder.join(path)),
            trust_unsigned: options.trust_unsigned,
        }
    }

    fn read_from(&self, backup: &str, options: ReadOptions) -> Result<ReadFrom, Refused> {
        let (environment, backup) = self.backup(backup)?;
        Ok(ReadFrom {
            environment,
            backup,
            how: self.read_by(options),
        })
    }

    pub(super) fn ls(&self, verb: LsVerb) -> Result<Request, Refused> {
        Ok(Request::Ls(LsRequest {
            from: self.read_from(&verb.backup, verb.options)?,
            path: verb.path.map(OsString::into_vec),
            depth: if verb.recursive {
                Depth::Everything
            } else {
                Depth::Children
            },
        }))
    }

    pub(super) fn cat(&self, verb: CatVerb) -> Result<Request, Refused> {
        Ok(Request::Cat(CatRequest {
            from: self.read_from(&verb.backup, verb.options)?,
            path: verb.path.into_vec(),
        }))
    }

    pub(super) fn diff(&self, verb: DiffVerb) -> Result<Request, Refused> {
        Ok(Request::Diff(DiffRequest {
            one: self.read_from(&verb.one, verb.options.clone())?,
            other: self.read_from(&verb.other, verb.options)?,
            path: verb.path.map(OsString::into_vec),
        }))
    }

    pub(super) fn find(&self, verb: FindVerb) -> Result<Request, Refused> {
        Ok(Request::Find(FindRequest {
            environment: self.environment()?,
            name: verb.name,
            how: self.read_by(verb.options),
        }))
    }

    pub(super) fn export(&self, verb: ExportVerb) -> Result<Request, Refused> {
        let named = self
            .output
            .is_some_and(|file| file.extension().is_some_and(|end| end == "zst"));
        Ok(Request::Export(ExportRequest {
            from: self.read_from(&verb.backup, verb.options)?,
            paths: verb.paths.into_iter().map(OsString::into_vec).collect(),
            form: if verb.zstd || named { Form::TarZstd } else { Form::Tar },
        }))
    }

    pub(super) fn verify(&self, verb: VerifyVerb) -> Result<Request, Refused> {
        Ok(Request::Verify(VerifyRequest {
            from: self.read_from(&verb.backup, verb.options)?,
            level: verb.level.into(),
            sample: verb.sample,
        }))
    }
}
