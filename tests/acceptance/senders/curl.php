<?php
// PHP's curl, with CURLOPT_FAILONERROR.
$curl = curl_init(getenv('LAKEGATE_URL'));
curl_setopt_array($curl, [
    CURLOPT_POSTFIELDS => stream_get_contents(STDIN),
    CURLOPT_HTTPHEADER => ['X-Api-Key: ' . getenv('LAKEGATE_KEY'), 'Content-Type: application/x-ndjson'],
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_FAILONERROR => true,
]);
exit(curl_exec($curl) === false ? 1 : 0);
