//! The init segment: `ftyp` and `moov`, with all durations zero and `mvex` (RFC 8216bis 3.1.2, CMAF 7.3).

use bytes::Bytes;
use mp4_atom::{
    Atom, Audio, Avc1, Avcc, Codec, Decode, Dinf, Dref, DrefEntry, Encode, FixedPoint, Ftyp, Hdlr, Mdhd,
    Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Result, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Visual, Vmhd,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, Esds, SLConfig},
};
use timeline::{Media, Rendition};

use super::Timescale;

/// Video is track 1 and audio track 2, so that a part of each could share one file.
pub const fn track(media: Media) -> u32 {
    match media {
        Media::Video { .. } => 1,
        Media::Audio { .. } => 2,
    }
}

pub fn init_segment(rendition: &Rendition) -> Result<Bytes> {
    let ftyp = Ftyp {
        major_brand: b"iso6".into(),
        minor_version: 0,
        compatible_brands: vec![b"iso6".into(), b"cmfc".into(), b"mp41".into()],
    };
    let mut out = Vec::new();
    ftyp.encode(&mut out)?;
    moov(rendition)?.encode(&mut out)?;
    Ok(out.into())
}

fn moov(rendition: &Rendition) -> Result<Moov> {
    let id = track(rendition.media);
    let timescale = Timescale::of(rendition.media).get();
    let trex = Trex {
        track_id: id,
        default_sample_description_index: 1,
        ..Trex::default()
    };
    Ok(Moov {
        mvhd: Mvhd {
            timescale,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: id + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![trex],
        }),
        trak: vec![Trak {
            tkhd: tkhd(id, rendition.media),
            mdia: Mdia {
                mdhd: Mdhd {
                    timescale,
                    language: "und".into(),
                    ..Mdhd::default()
                },
                hdlr: handler(rendition.media),
                minf: minf(rendition)?,
            },
            ..Trak::default()
        }],
        ..Moov::default()
    })
}

fn tkhd(id: u32, media: Media) -> Tkhd {
    let tkhd = Tkhd {
        track_id: id,
        enabled: true,
        in_movie: true,
        ..Tkhd::default()
    };
    match media {
        Media::Video { width, height, .. } => Tkhd {
            width: (width as u16).into(),
            height: (height as u16).into(),
            ..tkhd
        },
        Media::Audio { .. } => Tkhd {
            volume: 1.into(),
            alternate_group: 1,
            ..tkhd
        },
    }
}

fn handler(media: Media) -> Hdlr {
    match media {
        Media::Video { .. } => Hdlr {
            handler: b"vide".into(),
            name: "video".into(),
        },
        Media::Audio { .. } => Hdlr {
            handler: b"soun".into(),
            name: "audio".into(),
        },
    }
}

fn minf(rendition: &Rendition) -> Result<Minf> {
    let (vmhd, smhd) = match rendition.media {
        Media::Video { .. } => (Some(Vmhd::default()), None),
        Media::Audio { .. } => (None, Some(Smhd::default())),
    };
    Ok(Minf {
        vmhd,
        smhd,
        // An empty location: the media is in this very file.
        dinf: Dinf {
            dref: Dref {
                entries: vec![DrefEntry::Url(Url {
                    location: String::new(),
                })],
            },
        },
        stbl: Stbl {
            stsd: Stsd {
                codecs: vec![sample_entry(rendition)?],
            },
            stco: Some(Stco::default()),
            ..Stbl::default()
        },
        ..Minf::default()
    })
}

fn sample_entry(rendition: &Rendition) -> Result<Codec> {
    Ok(match rendition.media {
        Media::Video { width, height, .. } => Codec::Avc1(Avc1 {
            visual: Visual {
                data_reference_index: 1,
                width: width as u16,
                height: height as u16,
                ..Visual::default()
            },
            avcc: Avcc::decode_body(&mut &rendition.init[..])?,
            ..Avc1::default()
        }),
        Media::Audio {
            sample_rate,
            channels,
        } => Codec::Mp4a(Mp4a {
            audio: Audio {
                data_reference_index: 1,
                channel_count: channels as u16,
                sample_size: 16,
                sample_rate: FixedPoint::new(sample_rate as u16, 0),
            },
            esds: esds(rendition)?,
            btrt: None,
            taic: None,
        }),
    })
}

fn esds(rendition: &Rendition) -> Result<Esds> {
    const AAC: u8 = 0x40;
    const AUDIO_STREAM: u8 = 5;
    Ok(Esds {
        es_desc: EsDescriptor {
            dec_config: DecoderConfig {
                object_type_indication: AAC,
                stream_type: AUDIO_STREAM,
                max_bitrate: rendition.bandwidth,
                avg_bitrate: rendition.average_bandwidth,
                dec_specific: Some(DecoderSpecific::decode(&mut &rendition.init[..])?),
                ..DecoderConfig::default()
            },
            sl_config: SLConfig::default(),
            ..EsDescriptor::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{audio, video};
    use mp4_atom::DecodeMaybe;

    fn read(init: &Bytes) -> (Ftyp, Moov) {
        let mut rest = &init[..];
        let ftyp = Ftyp::decode(&mut rest).unwrap();
        let moov = Moov::decode(&mut rest).unwrap();
        assert_eq!(mp4_atom::Any::decode_maybe(&mut rest).unwrap(), None);
        (ftyp, moov)
    }

    #[test]
    fn a_video_init_reads_back() {
        let rendition = video(1, "720p", 2_500_000);
        let (ftyp, moov) = read(&init_segment(&rendition).unwrap());
        assert_eq!(ftyp.major_brand, b"iso6".into());
        assert!(ftyp.compatible_brands.contains(&b"cmfc".into()));
        let trak = &moov.trak[0];
        assert_eq!((trak.tkhd.track_id, trak.mdia.mdhd.timescale), (1, 90_000));
        assert_eq!(
            (moov.mvhd.duration, trak.tkhd.duration, trak.mdia.mdhd.duration),
            (0, 0, 0)
        );
        assert_eq!(moov.mvex.unwrap().trex[0].track_id, 1);
        let Codec::Avc1(avc1) = &trak.mdia.minf.stbl.stsd.codecs[0] else {
            panic!()
        };
        assert_eq!((avc1.visual.width, avc1.visual.height), (1280, 720));
        let mut avcc = Vec::new();
        avc1.avcc.encode_body(&mut avcc).unwrap();
        assert_eq!(avcc, rendition.init);
    }

    #[test]
    fn an_audio_init_reads_back() {
        let (_, moov) = read(&init_segment(&audio(3)).unwrap());
        let trak = &moov.trak[0];
        assert_eq!((trak.tkhd.track_id, trak.mdia.mdhd.timescale), (2, 48_000));
        let Codec::Mp4a(mp4a) = &trak.mdia.minf.stbl.stsd.codecs[0] else {
            panic!()
        };
        assert_eq!(
            (mp4a.audio.channel_count, mp4a.audio.sample_rate.integer()),
            (2, 48_000)
        );
        let specific = mp4a.esds.es_desc.dec_config.dec_specific.as_ref().unwrap();
        assert_eq!(specific.raw, [0x11, 0x90]);
    }

    #[test]
    fn a_broken_configuration_is_an_error() {
        let broken = Rendition {
            init: Bytes::from_static(&[1, 0x64]),
            ..video(1, "720p", 1)
        };
        assert!(init_segment(&broken).is_err());
    }
}
