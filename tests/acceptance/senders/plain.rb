# Ruby's Net::HTTP; `value` raises where the answer is no 2xx.
require "net/http"

headers = { "X-Api-Key" => ENV.fetch("LAKEGATE_KEY"), "Content-Type" => "application/x-ndjson" }
begin
  Net::HTTP.post(URI(ENV.fetch("LAKEGATE_URL")), $stdin.read, headers).value
rescue Net::ProtocolError, SystemCallError, IOError
  exit 1
end
