// A report as a run of the code recipe would leave it: 60 tasks, six systems, realistic figures made from a fixed draw.
#pragma once
#include <nlohmann/json.hpp>

nlohmann::json fixture_report();
