# Sends events to a Lakegate gateway: one per line on standard input. Copy `send_all` and `post` into your own service.
#   LAKEGATE_URL=https://localhost:8443/v1/events LAKEGATE_KEY=dev ruby send.rb < events.ndjson > unsent.ndjson
require "json"
require "net/http"

URL, KEY = URI(ENV.fetch("LAKEGATE_URL")), ENV.fetch("LAKEGATE_KEY")
BATCH, TRIES = 500, 10
# The answers that have the counts and `results`.
SETTLED = [200, 202, 207, 422].freeze
TOTAL = { "accepted" => 0, "duplicates" => 0, "rejected" => 0, "retry" => 0 }

# What ends a request without an answer that can be read.
UNREADABLE = [
  SystemCallError, IOError, SocketError, Timeout::Error, Net::ProtocolError, Net::HTTPBadResponse, OpenSSL::SSL::SSLError,
  JSON::ParserError, KeyError, TypeError
].freeze

# One request: its status (0: no answer that can be read), the answer, and the seconds that the gateway asks to wait.
def post(lines)
  headers = { "Authorization" => "Bearer #{KEY}", "Content-Type" => "application/x-ndjson" }
  options = { use_ssl: URL.scheme == "https", open_timeout: 10, read_timeout: 30 }
  response = Net::HTTP.start(URL.host, URL.port, options) { |http| http.post(URL.path, lines.join("\n"), headers) }
  status, answer = response.code.to_i, response.body
  if SETTLED.include?(status)
    answer = JSON.parse(answer)
    counted = answer.is_a?(Hash) ? TOTAL.keys.sum { |count| answer.fetch(count) } : 0
    raise KeyError, "the counts are not those of this request" if counted != lines.size
  end
  [status, answer, response["Retry-After"].to_i]
rescue *UNREADABLE => error
  warn "no answer that can be read: #{error.message}"
  [0, nil, 0]
end

# Sends until every event is settled, at most TRIES times. Gives what is left: keep it, and send it later.
def send_all(lines)
  TRIES.times do |attempt|
    status, answer, pause = post(lines)
    if SETTLED.include?(status)
      TOTAL.each_key { |count| TOTAL[count] += answer[count] }
      results = answer["results"].group_by { |result| result["status"] }
      results.fetch("rejected", []).each do |result|
        warn "rejected: #{result["error"]["code"]} #{result["error"]["pointer"]} #{result["event_uuid"]}"
      end
      lines = results.fetch("retry", []).map { |result| lines[result["index"]] }
      return [] if lines.empty?
    elsif status == 413 && lines.size > 1
      return lines.each_slice((lines.size + 1) / 2).flat_map { |half| send_all(half) }
    elsif ![0, 408, 429].include?(status) && status < 500
      warn "the request is wrong: #{status} #{answer}"
      return lines
    end
    sleep pause + rand * [0.5 * 2**attempt, 60].min
  end
  lines
end

unsent = $stdin.each_line(chomp: true).reject { |line| line.strip.empty? }.each_slice(BATCH).flat_map { |lines| send_all(lines) }
puts unsent
warn TOTAL.except("retry").map { |name, count| "#{name} #{count}, " }.join + "unsent #{unsent.size}"
