//! Driver options of one endpoint: how its interface is called and what the kernel is told of it.
//! Pure.

use skep_docker_api::ApiError;
use skep_docker_api::json::EndpointSettings;

use crate::spec;

const INTERFACE: &str = "com.docker.network.endpoint.ifname";
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// Stands for the interface's name, which is not known before.
const NAME: &str = "IFNAME";

/// What is asked of an interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EndpointOptions {
    pub interface: Option<String>,
    pub sysctls: Vec<Sysctl>,
}

/// `net.FAMILY.AREA.IFNAME.KEY=VALUE`.
#[derive(Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// `ipv4/conf`: what stands before the interface's name.
    before: String,
    key: String,
    value: String,
}

impl Sysctl {
    /// The path below `/proc/sys/net` for an interface, and what is written there.
    pub fn at(&self, interface: &str) -> (String, String) {
        (format!("{}/{interface}/{}", self.before, self.key), self.value.clone())
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let ["net", family @ ("ipv4" | "ipv6" | "mpls"), area, NAME, key] =
            name.split('.').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        // They become parts of a path.
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
        };
        (plain(area) && plain(key)).then(|| Self {
            before: format!("{family}/{area}"),
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Options that mean nothing here are left alone, as Docker's drivers leave those of others.
pub fn read(settings: &EndpointSettings) -> Result<EndpointOptions, ApiError> {
    let mut options = EndpointOptions::default();
    for (key, value) in settings.driver_opts.iter().flatten() {
        match key.as_str() {
            INTERFACE => options.interface = Some(spec::interface(value)?),
            SYSCTLS => {
                for text in value.split(',') {
                    let sysctl = Sysctl::parse(text).ok_or_else(|| {
                        ApiError::invalid(format!(
                            "unrecognised network interface sysctl {text:?}; represent \
                             'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', \
                             'ipv6' or 'mpls'"
                        ))
                    })?;
                    options.sysctls.push(sysctl);
                }
            }
            _ => {}
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(key: &str, value: &str) -> Result<EndpointOptions, ApiError> {
        let driver_opts = Some([(key.to_owned(), value.to_owned())].into());
        read(&EndpointSettings { driver_opts, ..EndpointSettings::default() })
    }

    #[test]
    fn sysctls_are_those_of_the_interface_alone() {
        let read = options(
            SYSCTLS,
            "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0",
        );
        let paths: Vec<_> = read.unwrap().sysctls.iter().map(|it| it.at("eth3")).collect();
        let expected = [("ipv4/conf/eth3/log_martians", "1"), ("ipv6/conf/eth3/accept_ra", "0")];
        assert_eq!(paths, expected.map(|(path, value)| (path.to_owned(), value.to_owned())));
        for bad in
            ["net.ipv4.ip_forward=1", "kernel.x.y.IFNAME.z=1", "net.ipv4.conf.IFNAME.a/b=1", ""]
        {
            assert!(options(SYSCTLS, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_one_that_an_interface_may_have() {
        assert_eq!(options(INTERFACE, "lan0").unwrap().interface.as_deref(), Some("lan0"));
        assert!(options(INTERFACE, "a/b").is_err());
        assert_eq!(options("com.example.other", "x").unwrap(), EndpointOptions::default());
    }
}
