//! A web site's traffic, as `processors.log_features` tells of it.

use sentinel_models::rng::SplitMix64;

/// A web site's traffic: Poisson around a wandering rate.
pub(in super::super) struct Site {
    pub rng: SplitMix64,
    /// Requests a window.
    pub rate: f64,
    pub error_share: f64,
    wander: f64,
}

/// One window of features.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Window {
    pub requests: f64,
    pub sessions: f64,
    pub errors: f64,
    pub client_errors: f64,
    pub bytes: f64,
    pub latency: f64,
}

impl Site {
    pub(in super::super) fn new(seed: u64, rate: f64) -> Site {
        Site { rng: SplitMix64::new(seed), rate, error_share: 0.005, wander: 0.0 }
    }

    pub(in super::super) fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.rng.normal()).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.rng.uniform(), 0.0);
        while product > limit {
            product *= self.rng.uniform();
            count += 1.0;
        }
        count
    }

    pub(in super::super) fn next(&mut self) -> Window {
        self.wander = 0.9 * self.wander + 0.05 * self.rng.normal();
        let requests = self.poisson(self.rate * self.wander.exp());
        let sessions =
            (requests / 3.0 * (1.0 + 0.1 * self.rng.normal())).round().clamp(0.0, requests);
        Window {
            requests,
            sessions,
            errors: self.poisson(requests * self.error_share),
            client_errors: self.poisson(requests * 0.02),
            bytes: requests * 8000.0 * (1.0 + 0.1 * self.rng.normal()).max(0.1),
            latency: 0.05 * (0.2 * self.rng.normal()).exp(),
        }
    }
}

impl Window {
    /// More of the same kind of traffic.
    pub(in super::super) fn times(mut self, factor: f64) -> Window {
        for value in
            [&mut self.requests, &mut self.sessions, &mut self.errors, &mut self.client_errors]
        {
            *value = (*value * factor).round();
        }
        self.bytes *= factor;
        self
    }

    /// Half of the requests fail.
    pub(in super::super) fn failing(mut self, share: f64) -> Window {
        self.errors = (self.requests * share).round();
        self.bytes *= 1.0 - 0.8 * share;
        self
    }

    /// One client asks so many times more.
    pub(in super::super) fn flooded(mut self, requests: f64) -> Window {
        self.bytes += requests * 8000.0;
        self.requests += requests;
        self.sessions += 1.0;
        self
    }

    pub(in super::super) fn features(&self) -> [(&'static str, f64); 9] {
        [
            ("log_requests", self.requests),
            ("log_sessions", self.sessions),
            ("log_clients", self.sessions),
            ("log_errors", self.errors),
            ("log_error_rate", self.errors / self.requests.max(1.0)),
            ("log_client_errors", self.client_errors),
            ("log_requests_per_session", self.requests / self.sessions.max(1.0)),
            ("log_bytes", self.bytes),
            ("log_latency_p95", self.latency),
        ]
    }
}
