//! Pipeline packages: YAML or JSON as it is, or inside a zip or a gzipped tar, where `pipeline.yaml` is looked for first.

use std::io::Read as _;

use crate::api::ApiError;

/// Largest document, unpacked.
const LIMIT_BYTES: u64 = 32 * 1024 * 1024;

/// The document inside a package, by the package's file name and first bytes.
pub fn unpack(file_name: &str, bytes: &[u8]) -> Result<String, ApiError> {
    let lower = file_name.to_ascii_lowercase();
    if bytes.is_empty() {
        return Err(ApiError::invalid("the package is empty"));
    }
    let content = if [".yaml", ".yml", ".json"]
        .iter()
        .any(|ending| lower.ends_with(ending))
    {
        bytes.to_vec()
    } else if bytes.starts_with(b"PK") {
        from_zip(bytes)?
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        from_tar(bytes)?
    } else {
        return Err(ApiError::invalid(format!(
            "{file_name:?} is no pipeline package: expected .yaml, .yml, .json, a zip or a gzipped tar"
        )));
    };
    String::from_utf8(content)
        .map_err(|_| ApiError::invalid("the pipeline document is not UTF-8 text"))
}

fn from_zip(bytes: &[u8]) -> Result<Vec<u8>, ApiError> {
    let broken = |problem: zip::result::ZipError| {
        ApiError::invalid(format!("the zip package cannot be read: {problem}"))
    };
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).map_err(broken)?;
    let names: Vec<String> = archive
        .file_names()
        .filter(|name| !name.ends_with('/'))
        .map(str::to_owned)
        .collect();
    let name = names
        .iter()
        .find(|name| *name == "pipeline.yaml")
        .or_else(|| names.first())
        .ok_or_else(|| ApiError::invalid("the zip package holds no file"))?;
    read_limited(archive.by_name(name).map_err(broken)?)
}

fn from_tar(bytes: &[u8]) -> Result<Vec<u8>, ApiError> {
    let broken = |problem: std::io::Error| {
        ApiError::invalid(format!("the tar package cannot be read: {problem}"))
    };
    let unpacked = read_limited(flate2::read::GzDecoder::new(bytes))?;
    let mut first = None;
    for entry in tar::Archive::new(unpacked.as_slice())
        .entries()
        .map_err(broken)?
    {
        let entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let is_named = entry
            .path()
            .is_ok_and(|path| path.as_os_str() == "pipeline.yaml");
        if is_named {
            return read_limited(entry);
        }
        if first.is_none() {
            first = Some(read_limited(entry)?);
        }
    }
    first.ok_or_else(|| ApiError::invalid("the tar package holds no file"))
}

fn read_limited(reader: impl std::io::Read) -> Result<Vec<u8>, ApiError> {
    let mut content = Vec::new();
    reader
        .take(LIMIT_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|problem| {
            ApiError::invalid(format!("the package cannot be unpacked: {problem}"))
        })?;
    if content.len() as u64 > LIMIT_BYTES {
        return Err(ApiError::invalid("the package unpacks to more than 32 MiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in files {
            writer
                .start_file(*name, zip::write::SimpleFileOptions::default())
                .unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn tarred(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn archives_give_pipeline_yaml_else_their_first_file() {
        for make in [zipped, tarred] {
            assert_eq!(
                unpack("p.bin", &make(&[("a.txt", "x"), ("pipeline.yaml", "y")])).unwrap(),
                "y"
            );
            assert_eq!(
                unpack("p.bin", &make(&[("a.txt", "x"), ("b.txt", "z")])).unwrap(),
                "x"
            );
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        assert!(unpack("p.yaml", b"").is_err());
        assert!(unpack("p.exe", b"MZ").is_err());
        assert!(unpack("p.zip", b"PK\x03\x04broken").is_err());
        assert!(unpack("p.tar.gz", &[0x1f, 0x8b, 0, 0]).is_err());
        assert!(unpack("p.yaml", &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn a_package_that_unpacks_to_too_much_is_refused() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; 33 * 1024 * 1024]).unwrap();
        assert!(
            unpack("p.tgz", &encoder.finish().unwrap())
                .unwrap_err()
                .message()
                .contains("more than 32 MiB")
        );
    }
}
