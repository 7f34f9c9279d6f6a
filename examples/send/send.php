<?php
// Sends events to a Lakegate gateway: one per line on standard input. Copy `send` and `post` into your own service. Needs ext-curl.
//   LAKEGATE_URL=https://localhost:8443/v1/events LAKEGATE_KEY=dev php send.php < events.ndjson > unsent.ndjson
const BATCH = 500, TRIES = 10;
// The answers that have the counts and `results`.
const SETTLED = [200, 202, 207, 422];
$total = ['accepted' => 0, 'duplicates' => 0, 'rejected' => 0, 'retry' => 0];

/** One request: its status (0: no answer that can be read), the answer, and the seconds that the gateway asks to wait. */
function post(array $lines): array
{
    global $total;
    $pause = 0;
    $curl = curl_init(getenv('LAKEGATE_URL'));
    curl_setopt_array($curl, [
        CURLOPT_POSTFIELDS => implode("\n", $lines),
        CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . getenv('LAKEGATE_KEY'), 'Content-Type: application/x-ndjson'],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 30,
        CURLOPT_HEADERFUNCTION => function ($curl, $line) use (&$pause) {
            if (preg_match('/^retry-after: *(\d{1,9})\s*$/i', $line, $seconds)) $pause = (int) $seconds[1];
            return strlen($line);
        },
    ]);
    $answer = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    $error = curl_error($curl);
    if ($answer !== false && in_array($status, SETTLED)) {
        $answer = json_decode($answer, true);
        $counts = is_array($answer) ? array_intersect_key($answer, $total) : [];
        if (count($counts) !== count($total) || array_sum($counts) !== count($lines)) $error = 'the counts are not those of this request';
    }
    if ($error === '') return [$status, $answer, $pause];
    fwrite(STDERR, "no answer that can be read: $error\n");
    return [0, null, 0];
}

/** Sends until every event is settled, at most TRIES times. Gives what is left: keep it, and send it later. */
function send(array $lines): array
{
    global $total;
    for ($attempt = 0; $attempt < TRIES; $attempt++) {
        [$status, $answer, $pause] = post($lines);
        if (in_array($status, SETTLED)) {
            foreach ($total as $name => $count) $total[$name] = $count + $answer[$name];
            $again = [];
            foreach ($answer['results'] as $result) {
                if ($result['status'] === 'retry') $again[] = $lines[$result['index']];
                $uuid = $result['event_uuid'] ?? '';
                if ($result['status'] === 'rejected') fwrite(STDERR, "rejected: {$result['error']['code']} {$result['error']['pointer']} $uuid\n");
            }
            if (!$again) return [];
            $lines = $again;
        } elseif ($status === 413 && count($lines) > 1) {
            return array_merge(...array_map('send', array_chunk($lines, intdiv(count($lines) + 1, 2))));
        } elseif (!in_array($status, [0, 408, 429]) && $status < 500) {
            fwrite(STDERR, "the request is wrong: $status $answer\n");
            return $lines;
        }
        usleep((int) (1e6 * ($pause + lcg_value() * min(0.5 * 2 ** $attempt, 60))));
    }
    return $lines;
}

$lines = array_filter(file('php://stdin', FILE_IGNORE_NEW_LINES), fn ($line) => trim($line) !== '');
$unsent = [];
foreach (array_chunk($lines, BATCH) as $batch) array_push($unsent, ...send($batch));
foreach ($unsent as $line) echo "$line\n";
foreach (['accepted', 'duplicates', 'rejected'] as $name) fwrite(STDERR, "$name $total[$name], ");
fwrite(STDERR, 'unsent ' . count($unsent) . "\n");
