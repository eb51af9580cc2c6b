#include "retry.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace core_http {

namespace {

// Money has run out: waiting does not help, and asking again annoys. Names used by OpenAI and Anthropic.
constexpr std::array<std::string_view, 8> kBillingStops = {"insufficient_quota",
                                                           "credit_balance_exhausted",
                                                           "organization_spend_limit_exceeded",
                                                           "project_spend_limit_exceeded",
                                                           "organization_usage_limit_exceeded",
                                                           "billing_hard_limit_reached",
                                                           "enforced_spend_limit_reached",
                                                           "billing_error"};

bool is_billing_stop(const PeerError &error) {
  return std::any_of(kBillingStops.begin(), kBillingStops.end(),
                     [&](std::string_view stop) { return error.code == stop || error.type == stop; });
}

// An error inside a reply of HTTP 200 has no status of its own: take its code, or what its type usually comes with.
unsigned status_inside_200(const PeerError &error) {
  if (error.number >= 400 && error.number < 600) return error.number;
  const auto is = [&](std::string_view name) { return error.type == name || error.code == name; };
  if (is("rate_limit_error") || is("rate_limit_exceeded") || is("slow_down")) return 429;
  if (is("invalid_request_error") || is("context_length_exceeded")) return 400;
  if (is("authentication_error") || is("invalid_api_key")) return 401;
  if (is("permission_error")) return 403;
  if (is("not_found_error") || is("model_not_found")) return 404;
  return 503;
}

}  // namespace

Judgement judge(unsigned http_status, const PeerError *error, std::string_view should_retry, const Config &config) {
  const unsigned status = http_status >= 300 || !error ? http_status : status_inside_200(*error);
  if ((error && is_billing_stop(*error)) || status == 402)
    return {GCOP_DENIED, false, "the account has no credit left or hit its spend limit; raise it with the provider"};
  if (status == 401 || status == 403)
    return {GCOP_DENIED, false,
            config.key_env.empty() ? "no key was sent; name the environment variable that holds it in key_env"
                                   : "check the key in the environment variable " + config.key_env};
  Judgement out;
  switch (status) {
    case 408: out = {GCOP_TIMEOUT, true, "the peer gave up waiting"}; break;
    case 409: out = {GCOP_UNAVAILABLE, true, "the peer reports a conflict"}; break;
    case 429: out = {GCOP_UNAVAILABLE, true, "lower max_in_flight or raise the rate limit"}; break;
    case 404: out = {GCOP_INVALID, false, "check base_url (does it end in /v1?) and model"}; break;
    case 413: out = {GCOP_INVALID, false, "the request is too large; shorten the prompt"}; break;
    default:
      if (status >= 500)
        out = {GCOP_UNAVAILABLE, true, "the peer failed; look at its status page or log"};
      else if (status >= 400)
        out = {GCOP_INVALID, false, "the peer refuses this request; check model and parameters"};
      else
        out = {GCOP_INVALID, false, "the peer redirects; set base_url to where it points"};
  }
  if (should_retry == "true" && out.status != GCOP_INVALID) out.retry = true;
  if (should_retry == "false") out.retry = false;
  return out;
}

std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view retry_after_ms,
                                                           std::string_view retry_after, std::time_t now) {
  const auto number = [](std::string_view text) -> std::optional<double> {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0)) return std::nullopt;
    return std::min(value, 1e9);
  };
  const auto ms = [](double value) { return std::chrono::milliseconds(static_cast<int64_t>(value)); };
  if (const auto value = number(retry_after_ms)) return ms(*value);
  if (const auto value = number(retry_after)) return ms(std::min(*value, 1e6) * 1000);
  std::tm date{};
  const std::string text(retry_after);  // strptime wants a NUL
  const char *end = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (text.empty() || !end || *end) return std::nullopt;
  return ms(std::clamp(std::difftime(timegm(&date), now), 0.0, 1e6) * 1000);
}

std::chrono::milliseconds backoff(std::chrono::milliseconds base, uint32_t attempt, uint64_t salt) {
  const auto wait = base * (int64_t{1} << std::clamp<uint32_t>(attempt, 1, 5)) / 2;
  // splitmix64's finish over salt and attempt
  uint64_t x = salt + 0x9e3779b97f4a7c15u * attempt;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  return std::max(std::chrono::milliseconds(1), wait * 3 / 4 + wait * static_cast<int64_t>(x % 1024) / 4096);
}

}  // namespace core_http
