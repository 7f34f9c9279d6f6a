// Written by `lakegate schemas export --format typescript`; do not edit.

/**
 * The fields of every event, by its name, without those that the client and the gateway write.
 */
export interface Events {
  /**
   * Someone opened an account. Counts sign-ups by day, country, plan and way of signing up. The person's address is never sent, only a keyed hash of it to join by.
   *
   * Version 1 of its schema.
   */
  'account:created': {
    /**
     * The new account.
     */
    account_id: string;
    /**
     * HMAC-SHA-256 of the lower-case e-mail address under the company's own key, in hexadecimal: joins systems without telling the address.
     */
    email_sha256: string;
    /**
     * How the person signed up.
     */
    signup_method: 'password' | 'passkey' | 'google' | 'apple' | 'sso' | 'invitation';
    /**
     * The account that sent the invitation, if there was one.
     */
    invited_by_account_id?: string;
    /**
     * Country of the account, ISO 3166-1 alpha-2, such as PT.
     */
    country?: string;
    /**
     * Language the person chose, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * What was bought with the account.
     */
    plan?: 'free' | 'trial' | 'paid';
    /**
     * The page of ours that led to the sign-up, without query and fragment.
     */
    referrer?: string;
    /**
     * What the person agreed to.
     */
    consent: {
      /**
       * Which text of the terms, such as 2026-09.
       */
      terms_version: string;
      /**
       * When they were accepted, RFC 3339 with offset.
       */
      accepted_at: string;
      /**
       * Whether the person wants news by mail.
       */
      marketing?: boolean;
    };
  };
  /**
   * A client library could not keep some of its events, and says how many and why, so that a report knows what it lacks. The counts are those since the last such event of the same client; add them up.
   *
   * Version 1 of its schema.
   */
  'client:events:dropped': {
    /**
     * Which library says so.
     */
    client: 'browser' | 'node';
    /**
     * Events that were not taken because as many as the client may keep were waiting.
     */
    queue_full?: number;
    /**
     * Events that could not be sent until they were older than the client keeps them.
     */
    too_old?: number;
    /**
     * Events of more bytes than one request may have.
     */
    too_large?: number;
    /**
     * Events of requests that were refused as a whole with a status that no repetition mends, such as 401.
     */
    refused?: number;
    /**
     * Events whose fields JSON cannot say, such as a BigInt or an object that holds itself.
     */
    invalid?: number;
  };
  /**
   * A student began a lesson. With the lessons that are finished it tells which lessons lose people, and how many start after the due date.
   *
   * Version 1 of its schema.
   */
  'lesson:started': {
    /**
     * Which lesson.
     */
    lesson_id: string;
    /**
     * Which course the lesson belongs to.
     */
    course_id: string;
    /**
     * Random UUID of the student, meaningless outside the learning system.
     */
    student_id: string;
    /**
     * Position of the lesson in the course, from 0.
     */
    lesson_index?: number;
    /**
     * 1 the first time the student starts this lesson, 2 the second time, and so on.
     */
    attempt_number: number;
    /**
     * What the student learns on.
     */
    device?: 'phone' | 'tablet' | 'desktop' | 'tv' | 'other';
    /**
     * Language the lesson is shown in, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * When the lesson should be done, RFC 3339 with offset; null when it has no due date.
     */
    due_at?: string | null;
    /**
     * What the lesson consists of.
     */
    content?: {
      /**
       * What the student does in it.
       */
      kind: 'video' | 'text' | 'quiz' | 'live';
      /**
       * Length of a video or a live lesson, in milliseconds.
       */
      duration_ms?: number;
      /**
       * Number of questions in a quiz.
       */
      question_count?: number;
      /**
       * Where the content is.
       */
      uri?: string;
    };
  };
  /**
   * The visitor ordered an item, or did another thing the menu offers for it (the action). Orders divided by views, per item, is the view-to-order conversion.
   *
   * Version 1 of its schema.
   */
  'menu:item:ordered': {
    /**
     * Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab.
     */
    session_id: string;
    /**
     * Random UUID of one opening of one menu page; all menu events between opening and leaving carry it.
     */
    visit_id: string;
    /**
     * Which restaurant the menu belongs to.
     */
    restaurant_id: string;
    /**
     * Which of the restaurant's menus is shown, such as dinner.
     */
    menu_id: string;
    /**
     * Path of the page, without query and fragment.
     */
    page_path?: string;
    /**
     * Language the menu is shown in, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner.
     */
    utc_offset_minutes?: number;
    /**
     * Which section of the menu, such as appetizers.
     */
    section_id: string;
    /**
     * Position of the section on the menu, from 0 at the top.
     */
    section_index: number;
    /**
     * Heading of the section as the visitor reads it.
     */
    section_name?: string;
    /**
     * Which dish or drink. The same dish keeps its id in every language and on every menu.
     */
    item_id: string;
    /**
     * Position of the item within its section, from 0 at the top.
     */
    item_index: number;
    /**
     * Name of the item as the visitor reads it.
     */
    item_name?: string;
    /**
     * Price on the menu, in the currency's smallest unit: 1450 is 14.50 EUR.
     */
    price_minor?: number;
    /**
     * ISO 4217 code of the currency, such as EUR.
     */
    currency?: string;
    /**
     * What was done, as the menu names it. Conversion counts order; add-to-cart, share and the like are kept beside it.
     */
    action: string;
    /**
     * How many of the item.
     */
    quantity?: number;
    /**
     * How the order reaches the guest.
     */
    channel?: 'dine_in' | 'takeaway' | 'delivery';
    /**
     * Milliseconds of the visit so far in which the page was visible.
     */
    active_ms?: number;
  };
  /**
   * A dish or drink was really seen: half of it in view, or half of the screen filled with it, for one second without a break. The most viewed dishes are counted from this, and, with menu:item:ordered, how many views become orders.
   *
   * Version 2 of its schema.
   */
  'menu:item:viewed': {
    /**
     * Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab.
     */
    session_id: string;
    /**
     * Random UUID of one opening of one menu page; all menu events between opening and leaving carry it.
     */
    visit_id: string;
    /**
     * Which restaurant the menu belongs to.
     */
    restaurant_id: string;
    /**
     * Which of the restaurant's menus is shown, such as dinner.
     */
    menu_id: string;
    /**
     * Path of the page, without query and fragment.
     */
    page_path?: string;
    /**
     * Language the menu is shown in, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner.
     */
    utc_offset_minutes?: number;
    /**
     * Which section of the menu, such as appetizers.
     */
    section_id: string;
    /**
     * Position of the section on the menu, from 0 at the top.
     */
    section_index: number;
    /**
     * Heading of the section as the visitor reads it.
     */
    section_name?: string;
    /**
     * Which dish or drink. The same dish keeps its id in every language and on every menu.
     */
    item_id: string;
    /**
     * Position of the item within its section, from 0 at the top.
     */
    item_index: number;
    /**
     * Name of the item as the visitor reads it.
     */
    item_name?: string;
    /**
     * Price on the menu, in the currency's smallest unit: 1450 is 14.50 EUR.
     */
    price_minor?: number;
    /**
     * ISO 4217 code of the currency, such as EUR.
     */
    currency?: string;
    /**
     * Milliseconds in which the item had been in view when this was sent, 1000 as a rule. The time in all is in menu:visit:progress.
     */
    dwell_ms?: number;
    /**
     * The furthest point of the page reached so far, in percent of its height; 100 is the end.
     */
    depth_percent?: number;
    /**
     * Milliseconds of the visit so far in which the page was visible.
     */
    active_ms?: number;
    /**
     * 1 the first time this visit sees the item, 2 when it comes back to it, and so on.
     */
    view_number?: number;
    /**
     * Whether the menu shows a picture of the item.
     */
    has_photo?: boolean;
    /**
     * The labels the menu puts on the item, such as vegetarian.
     *
     * @maxItems 20
     *
     * Items: One label.
     */
    tags?: string[];
  };
  /**
   * A visitor opened a menu page: the start of a visit. Counts visits by day and hour, by language, by device, and by where people come from.
   *
   * Version 1 of its schema.
   */
  'menu:page:opened': {
    /**
     * Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab.
     */
    session_id: string;
    /**
     * Random UUID of one opening of one menu page; all menu events between opening and leaving carry it.
     */
    visit_id: string;
    /**
     * Which restaurant the menu belongs to.
     */
    restaurant_id: string;
    /**
     * Which of the restaurant's menus is shown, such as dinner.
     */
    menu_id: string;
    /**
     * Path of the page, without query and fragment.
     */
    page_path: string;
    /**
     * Language the menu is shown in, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner.
     */
    utc_offset_minutes?: number;
    /**
     * Size of the visible part of the page, in CSS pixels.
     */
    viewport: {
      /**
       * Width in CSS pixels; under 600 is a phone.
       */
      width_px: number;
      /**
       * Height in CSS pixels.
       */
      height_px: number;
    };
    /**
     * Screen pixels per CSS pixel.
     */
    device_pixel_ratio?: number;
    /**
     * How the page came up, as the browser tells it; back_forward is a return with the back button.
     */
    navigation?: 'navigate' | 'reload' | 'back_forward' | 'prerender';
    /**
     * Scheme and host of the page that linked here, such as https://www.google.com; never its path. Absent: opened directly.
     */
    referrer?: string;
    /**
     * The restaurant's own mark on the link that was followed, such as qr-table-7 or flyer.
     */
    entry?: string;
    /**
     * How many sections the menu has.
     */
    section_count?: number;
    /**
     * How many items the menu has.
     */
    item_count?: number;
  };
  /**
   * A section of the menu came into view for the first time in a visit. Tells how far down people get, and what share stops after the appetizers.
   *
   * Version 1 of its schema.
   */
  'menu:section:reached': {
    /**
     * Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab.
     */
    session_id: string;
    /**
     * Random UUID of one opening of one menu page; all menu events between opening and leaving carry it.
     */
    visit_id: string;
    /**
     * Which restaurant the menu belongs to.
     */
    restaurant_id: string;
    /**
     * Which of the restaurant's menus is shown, such as dinner.
     */
    menu_id: string;
    /**
     * Path of the page, without query and fragment.
     */
    page_path?: string;
    /**
     * Language the menu is shown in, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner.
     */
    utc_offset_minutes?: number;
    /**
     * Which section of the menu, such as appetizers.
     */
    section_id: string;
    /**
     * Position of the section on the menu, from 0 at the top.
     */
    section_index: number;
    /**
     * Heading of the section as the visitor reads it.
     */
    section_name?: string;
    /**
     * How many sections the menu has.
     */
    section_count?: number;
    /**
     * The furthest point of the page reached so far, in percent of its height; 100 is the end.
     */
    depth_percent?: number;
    /**
     * Milliseconds of the visit so far in which the page was visible.
     */
    active_ms?: number;
  };
  /**
   * How a visit has gone so far, sent each time the page is hidden or left. Every report holds the totals since the opening, so that the one with the highest progress_index replaces those before it and a lost one does no harm. Gives time per dish, time per visit, and where people stop.
   *
   * Version 1 of its schema.
   */
  'menu:visit:progress': {
    /**
     * Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab.
     */
    session_id: string;
    /**
     * Random UUID of one opening of one menu page; all menu events between opening and leaving carry it.
     */
    visit_id: string;
    /**
     * Which restaurant the menu belongs to.
     */
    restaurant_id: string;
    /**
     * Which of the restaurant's menus is shown, such as dinner.
     */
    menu_id: string;
    /**
     * Path of the page, without query and fragment.
     */
    page_path?: string;
    /**
     * Language the menu is shown in, as a BCP 47 tag, such as pt-PT.
     */
    locale?: string;
    /**
     * The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner.
     */
    utc_offset_minutes?: number;
    /**
     * Number of the report within the visit, from 0. The highest one counts; do not add them up.
     */
    progress_index: number;
    /**
     * Why the report was made: the tab was hidden, the page was left, or some time had passed.
     */
    reason?: 'hidden' | 'pagehide' | 'interval';
    /**
     * Milliseconds of the visit so far in which the page was visible.
     */
    active_ms: number;
    /**
     * The furthest point of the page reached so far, in percent of its height; 100 is the end.
     */
    depth_percent: number;
    /**
     * The furthest section reached. Absent: none was.
     */
    deepest_section_id?: string;
    /**
     * Position of the furthest section reached, from 0 at the top.
     */
    deepest_section_index?: number;
    /**
     * How many sections the menu has.
     */
    section_count?: number;
    /**
     * How many items the menu has.
     */
    item_count?: number;
    /**
     * The items that were in view, with the time each had in all; at most 500.
     *
     * @maxItems 500
     *
     * Items: How long one item was in view during the visit.
     */
    items: {
      /**
       * Which dish or drink. The same dish keeps its id in every language and on every menu.
       */
      item_id: string;
      /**
       * Which section of the menu, such as appetizers.
       */
      section_id?: string;
      /**
       * Milliseconds in which the item was in view, on a visible page.
       */
      dwell_ms: number;
      /**
       * How many times the item counted as viewed (half in view for a second).
       */
      view_count?: number;
    }[];
  };
  /**
   * An order was paid in full. Revenue by day, by item and by way of paying. Holds no card number and nothing about the payer beyond an account.
   *
   * Version 1 of its schema.
   */
  'payment:order:completed': {
    /**
     * The order, as it stands on the receipt.
     */
    order_id: string;
    /**
     * The account that paid. Absent: paid without an account.
     */
    customer_id?: string;
    /**
     * Who sold.
     */
    merchant: {
      /**
       * The seller.
       */
      merchant_id: string;
      /**
       * The seller's own public address, as printed on the receipt; never the payer's.
       */
      support_email?: string;
    };
    /**
     * The restaurant, for an order of food: joins the menu events.
     */
    restaurant_id?: string;
    /**
     * The menu visit the order came from, if it came from one: joins the menu events.
     */
    visit_id?: string;
    /**
     * ISO 4217 code of the currency of all amounts, such as EUR.
     */
    currency: string;
    /**
     * What was bought, one line each.
     *
     * @minItems 1
     * @maxItems 500
     *
     * Items: One kind of thing that was bought.
     */
    lines: {
      /**
       * What was bought; for a dish the same id as on the menu.
       */
      item_id: string;
      /**
       * Its name as printed on the receipt.
       */
      item_name?: string;
      /**
       * How many.
       */
      quantity: number;
      /**
       * Price of one, in the currency's smallest unit.
       */
      unit_price_minor: number;
      /**
       * Taken off this line, in the currency's smallest unit.
       */
      discount_minor?: number;
      /**
       * Price of the line after its discount, in the currency's smallest unit.
       */
      total_minor: number;
    }[];
    /**
     * Sum of the lines, in the currency's smallest unit.
     */
    subtotal_minor?: number;
    /**
     * Taken off the whole order, in the currency's smallest unit.
     */
    discount_minor?: number;
    /**
     * Tax contained in the total, in the currency's smallest unit.
     */
    tax_minor?: number;
    /**
     * Tip, in the currency's smallest unit.
     */
    tip_minor?: number;
    /**
     * What was paid, in the currency's smallest unit.
     */
    total_minor: number;
    /**
     * How it was paid.
     */
    payment: {
      /**
       * Way of paying.
       */
      method: 'card' | 'wallet' | 'bank_transfer' | 'direct_debit' | 'cash' | 'voucher';
      /**
       * Who processed the payment.
       */
      provider?: string;
      /**
       * The processor's own reference of the payment. Never a card number.
       */
      provider_reference?: string;
    };
  };
}
