// A meter's readings inside a profile, as the estimator takes them.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/attribute.h"
#include "analysis/covariates.h"
#include "analysis/energy.h"
#include "analysis/timeline.h"
#include "model/channel.h"

namespace picojoule {

// Times in ns after the profile's begin.
struct Windows {
    std::vector<std::int64_t> begin_ns, end_ns;
    std::vector<double> value, edge_std_ns, value_std;
    std::vector<std::uint8_t> shared;
    ClockError clock_error;
};

Windows windows_of(const Channel& channel, const Timeline& line, double span_ns);

// What ran in the profile, by class. Spans before and after are not known and must not be told.
struct Activity {
    std::vector<std::int64_t> from, to;
    std::vector<std::int32_t> cls;
    std::size_t n_classes{};
    std::vector<double> prior_rate, prior_cv;  // (n_classes,) or empty
    std::vector<Covariate> covariates;         // of the device
    [[nodiscard]] std::vector<AttributeInput::Covariate> drift() const;
};

// The joules of each class in the profile [0, span_ns). `whole` is known no better than its ends
// are, between two ticks each; what it has beyond the parts is left unattributed, as far as its own
// doubt is larger than theirs. The classes are those of `activity` and two more: what ran before
// and after.
Attributed solve_profile(const Channel& channel, const EnergyCurve& curve, const EnergyOf& whole,
                         double span_ns, Activity activity);

// What the doubt of a total with gaps, which is met exactly, adds to that of each part: relative.
double doubt_of_gaps(const EnergyOf& whole);

// The profile's joules by its parts, where these say more of it than a meter that ticks before and
// after its ends, and not at them.
EnergyOf whole_of(const Attributed& found, const EnergyOf& whole);

}  // namespace picojoule
